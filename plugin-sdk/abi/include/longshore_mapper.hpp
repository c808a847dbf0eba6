/* A mapper in C++: derive from longshore::Mapper and export it with
 * LONGSHORE_EXPORT_MAPPER.
 *
 * Header only, C++17. It keeps the parts of the contract that are easy to get
 * wrong: no exception leaves a function, commands are copied and carried out on
 * a thread of the instance, structs are read by their stride and emitted
 * zeroed, each command gets one completion, nothing is emitted after the stop,
 * and a full host is waited for.
 *
 *   struct Clock : longshore::Mapper {
 *     explicit Clock(std::string_view config) { ... throw std::invalid_argument to refuse }
 *     void carry_out(const longshore::Command &command, longshore::Event &event) override;
 *     std::optional<Instant> tick(longshore::Event &event) override;
 *   };
 *   LONGSHORE_EXPORT_MAPPER(Clock, "clock", "1.0.0", "clock", LONGSHORE_CAPABILITY_READ)
 *
 * Both functions run on the instance's thread, never at the same time, so they
 * may wait for a device, but not longer than a command's budget or `stopping()`. */

#ifndef LONGSHORE_MAPPER_HPP
#define LONGSHORE_MAPPER_HPP

#include <longshore_mapper.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace longshore {

using Instant = std::chrono::steady_clock::time_point;

/* Nanoseconds since 1970, as source times are. */
inline int64_t now_ns() {
  using namespace std::chrono;
  return duration_cast<nanoseconds>(system_clock::now().time_since_epoch()).count();
}

/* What the host asks for, copied. */
struct Command {
  uint32_t kind = 0, device = 0, point = 0;
  uint64_t token = 0;
  Instant deadline;
  LongshoreValue value{}; /* A text or bytes point into `bytes`. */
  std::string bytes;
  std::string text;
};

/* What goes to the host in one batch. */
class Event {
public:
  void good(uint32_t point, double value, int64_t source_time_ns) {
    LongshoreSample &sample = add(point, LONGSHORE_TYPE_FLOAT64, source_time_ns);
    sample.payload.float64 = value;
  }
  void good(uint32_t point, int64_t value, int64_t source_time_ns) {
    LongshoreSample &sample = add(point, LONGSHORE_TYPE_INT64, source_time_ns);
    sample.payload.int64 = value;
  }
  void good(uint32_t point, bool value, int64_t source_time_ns) {
    LongshoreSample &sample = add(point, LONGSHORE_TYPE_BOOL, source_time_ns);
    sample.payload.boolean = value;
  }
  void good(uint32_t point, std::string_view value, int64_t source_time_ns) {
    LongshoreSample &sample = add(point, LONGSHORE_TYPE_STRING, source_time_ns);
    sample.payload.bytes = keep(value);
  }
  void bad(uint32_t point, uint16_t reason, std::string_view message, int64_t source_time_ns) {
    LongshoreSample &sample = add(point, LONGSHORE_TYPE_NONE, source_time_ns);
    sample.quality = LONGSHORE_QUALITY_BAD;
    sample.reason = reason;
    sample.payload.bytes = keep(message);
  }
  /* How the command ends; without a call it ends with STATUS_OK. */
  void done(const Command &command, int32_t status, std::string_view message = {}) {
    LongshoreCompletion completion;
    std::memset(&completion, 0, sizeof completion);
    completion.token = command.token;
    completion.status = status;
    completion.message = keep(message);
    completions_.push_back(completion);
  }
  void state(uint32_t device, bool online, std::string_view message = {}) {
    LongshoreDeviceState state;
    std::memset(&state, 0, sizeof state);
    state.device = device;
    state.state = online ? LONGSHORE_STATE_ONLINE : LONGSHORE_STATE_OFFLINE;
    state.since_ns = now_ns();
    state.message = keep(message);
    states_.push_back(state);
  }
  bool empty() const { return samples_.empty() && completions_.empty() && states_.empty(); }
  bool completes(uint64_t token) const {
    return std::any_of(completions_.begin(), completions_.end(),
                       [token](const LongshoreCompletion &done) { return done.token == token; });
  }
  /* Valid until the event is changed. */
  LongshoreEventBatch batch() const {
    LongshoreEventBatch batch;
    std::memset(&batch, 0, sizeof batch);
    batch.size = sizeof batch;
    batch.sample_stride = sizeof(LongshoreSample);
    batch.completion_stride = sizeof(LongshoreCompletion);
    batch.state_stride = sizeof(LongshoreDeviceState);
    batch.samples = samples_.data();
    batch.sample_count = samples_.size();
    batch.completions = completions_.data();
    batch.completion_count = completions_.size();
    batch.states = states_.data();
    batch.state_count = states_.size();
    return batch;
  }

private:
  LongshoreSample &add(uint32_t point, uint8_t kind, int64_t source_time_ns) {
    LongshoreSample sample;
    std::memset(&sample, 0, sizeof sample);
    sample.point = point;
    sample.kind = kind;
    sample.source_time_ns = source_time_ns;
    samples_.push_back(sample);
    return samples_.back();
  }
  /* A deque never moves what it holds. */
  LongshoreBytes keep(std::string_view text) {
    texts_.emplace_back(text);
    const std::string &kept = texts_.back();
    return {reinterpret_cast<const uint8_t *>(kept.data()), kept.size()};
  }
  std::vector<LongshoreSample> samples_;
  std::vector<LongshoreCompletion> completions_;
  std::vector<LongshoreDeviceState> states_;
  std::deque<std::string> texts_;
};

template <class M> struct Exported;

/* An instance. Its constructor gets the mapper's configuration (JSON) and may
 * throw: std::invalid_argument when the configuration is wrong. */
class Mapper {
public:
  virtual ~Mapper() = default;
  /* Carries one command out. What throws ends with STATUS_INTERNAL. */
  virtual void carry_out(const Command &command, Event &event) = 0;
  /* Does what is due, and says when it wants to be called again. */
  virtual std::optional<Instant> tick(Event &) { return std::nullopt; }

protected:
  /* The instance is being stopped: waiting for a device must end. */
  bool stopping() const { return stopping_; }
  void log(uint32_t level, std::string_view message) const {
    host_->log(host_->context, level, {reinterpret_cast<const uint8_t *>(message.data()), message.size()});
  }

private:
  template <class M> friend struct Exported;
  /* More commands than this wait for nobody: the host offers them again. */
  static constexpr size_t most_commands = 4096;

  void start(const LongshoreHostApi *host) {
    host_ = host;
    thread_ = std::thread([this] { run(); });
  }

  int32_t submit(const LongshoreCommandBatch *batch) {
    std::lock_guard lock(mutex_);
    if (stopping_)
      return LONGSHORE_STATUS_STOPPED;
    if (waiting_.size() + batch->count > most_commands)
      return LONGSHORE_STATUS_BUSY;
    std::deque<Command> taken;
    for (size_t i = 0; i < batch->count; i++)
      taken.push_back(copied(reinterpret_cast<const char *>(batch->commands) + i * batch->stride, batch->stride));
    for (Command &command : taken)
      waiting_.push_back(std::move(command));
    wake_.notify_one();
    return LONGSHORE_STATUS_OK;
  }

  static Command copied(const char *from, size_t stride) {
    /* A host may know more fields, or fewer: those are zero. */
    LongshoreCommand raw;
    std::memset(&raw, 0, sizeof raw);
    std::memcpy(&raw, from, std::min(stride, sizeof raw));
    Command command;
    command.kind = raw.kind;
    command.device = raw.device;
    command.point = raw.point;
    command.token = raw.token;
    command.deadline = std::chrono::steady_clock::now() + std::chrono::nanoseconds(raw.budget_ns);
    command.value = raw.value;
    if (raw.text.length > 0)
      command.text.assign(reinterpret_cast<const char *>(raw.text.pointer), raw.text.length);
    if (raw.value.kind == LONGSHORE_TYPE_STRING || raw.value.kind == LONGSHORE_TYPE_BYTES) {
      const LongshoreBytes bytes = raw.value.payload.bytes;
      if (bytes.length > 0)
        command.bytes.assign(reinterpret_cast<const char *>(bytes.pointer), bytes.length);
      command.value.payload.bytes = {nullptr, 0};
    }
    return command;
  }

  void run() {
    std::unique_lock lock(mutex_);
    while (!stopping_) {
      if (!waiting_.empty()) {
        Command command = std::move(waiting_.front());
        waiting_.pop_front();
        lock.unlock();
        answer(command);
        lock.lock();
        continue;
      }
      lock.unlock();
      Event event;
      std::optional<Instant> next;
      try {
        next = tick(event);
      } catch (const std::exception &error) {
        log(LONGSHORE_LOG_ERROR, error.what());
        next = std::chrono::steady_clock::now() + std::chrono::seconds(1);
      } catch (...) {
        log(LONGSHORE_LOG_ERROR, "an unknown exception");
        next = std::chrono::steady_clock::now() + std::chrono::seconds(1);
      }
      emit(event);
      lock.lock();
      auto something = [this] { return stopping_ || !waiting_.empty(); };
      if (next)
        wake_.wait_until(lock, *next, something);
      else
        wake_.wait(lock, something);
    }
  }

  void answer(Command &command) {
    Event event;
    if (std::chrono::steady_clock::now() > command.deadline)
      event.done(command, LONGSHORE_STATUS_TIMEOUT, "its time was over before its turn came");
    else
      try {
        carry_out(command, event);
      } catch (const std::exception &error) {
        event = Event();
        event.done(command, LONGSHORE_STATUS_INTERNAL, error.what());
      } catch (...) {
        event = Event();
        event.done(command, LONGSHORE_STATUS_INTERNAL, "an unknown exception");
      }
    if (!event.completes(command.token))
      event.done(command, LONGSHORE_STATUS_OK);
    emit(event);
  }

  void emit(const Event &event) {
    if (event.empty() || host_stopped_)
      return;
    const LongshoreEventBatch batch = event.batch();
    int32_t status;
    while (!stopping_ && (status = host_->emit(host_->context, &batch)) == LONGSHORE_STATUS_WOULD_BLOCK)
      host_->wait_writable(host_->context, 20000000);
    host_stopped_ = !stopping_ && status == LONGSHORE_STATUS_STOPPED;
  }

  void stop() {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
      wake_.notify_one();
    }
    if (thread_.joinable())
      thread_.join();
  }

  const LongshoreHostApi *host_ = nullptr;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Command> waiting_;
  std::atomic<bool> stopping_{false};
  bool host_stopped_ = false;
  std::thread thread_;
};

/* The functions of the contract for a class that derives from Mapper. */
template <class M> struct Exported {
  static int32_t fail(LongshoreErrorText *error, int32_t status, std::string_view message) noexcept {
    const size_t at = offsetof(LongshoreErrorText, text);
    if (error && error->size >= at) {
      size_t length = std::min<size_t>(message.size(), error->size - at);
      /* Not in the middle of a character of UTF-8. */
      while (length > 0 && length < message.size() && (static_cast<unsigned char>(message[length]) & 0xC0) == 0x80)
        length--;
      std::memcpy(error->text, message.data(), length);
      error->length = static_cast<uint32_t>(length);
    }
    return status;
  }

  static int32_t create(const LongshoreHostApi *host, LongshoreBytes config, void **instance,
                        LongshoreErrorText *error) noexcept {
    if (host->abi_major != LONGSHORE_ABI_MAJOR || host->size < sizeof(LongshoreHostApi))
      return fail(error, LONGSHORE_STATUS_INVALID_ARGUMENT, "the host speaks another version of the contract");
    try {
      auto made = std::make_unique<M>(std::string_view(reinterpret_cast<const char *>(config.pointer), config.length));
      static_cast<Mapper &>(*made).start(host);
      *instance = static_cast<Mapper *>(made.release());
      return LONGSHORE_STATUS_OK;
    } catch (const std::invalid_argument &wrong) {
      return fail(error, LONGSHORE_STATUS_INVALID_CONFIG, wrong.what());
    } catch (const std::exception &failed) {
      return fail(error, LONGSHORE_STATUS_INTERNAL, failed.what());
    } catch (...) {
      return fail(error, LONGSHORE_STATUS_PANIC, "an unknown exception");
    }
  }

  static int32_t submit(void *instance, const LongshoreCommandBatch *batch) noexcept {
    try {
      return static_cast<Mapper *>(instance)->submit(batch);
    } catch (...) {
      return LONGSHORE_STATUS_PANIC;
    }
  }

  /* What takes long has to look at stopping(); a thread cannot be ended otherwise. */
  static int32_t stop(void *instance, int64_t) noexcept {
    try {
      static_cast<Mapper *>(instance)->stop();
      return LONGSHORE_STATUS_OK;
    } catch (...) {
      return LONGSHORE_STATUS_PANIC;
    }
  }

  static void destroy(void *instance) noexcept {
    try {
      Mapper *mapper = static_cast<Mapper *>(instance);
      mapper->stop();
      delete mapper;
    } catch (...) {
      /* Nobody is left to tell. */
    }
  }
};

/* Fixed fields of the descriptor, padded with NUL. */
template <size_t N> constexpr void fill(char (&field)[N], const char *text) {
  for (size_t i = 0; i < N && text[i] != 0; i++)
    field[i] = text[i];
}
template <size_t N> constexpr void fill(uint8_t (&field)[N], const char *text) {
  for (size_t i = 0; i < N && text[i] != 0; i++)
    field[i] = static_cast<uint8_t>(text[i]);
}

constexpr LongshoreDescriptor descriptor(const char *name, const char *version, const char *protocol,
                                         uint64_t capabilities) {
  LongshoreDescriptor made{};
  fill(made.magic, LONGSHORE_MAPPER_MAGIC);
  made.size = sizeof made;
  made.abi_major = LONGSHORE_ABI_MAJOR;
  made.abi_minor = LONGSHORE_ABI_MINOR;
  made.capabilities = capabilities;
  fill(made.name, name);
  fill(made.version, version);
  fill(made.protocol, protocol);
  fill(made.target, "c++");
  return made;
}

} // namespace longshore

/* Stands once in a library, outside of any namespace. */
#define LONGSHORE_EXPORT_MAPPER(TYPE, NAME, VERSION, PROTOCOL, CAPABILITIES)                                         \
  static_assert(sizeof(NAME) <= 32 && sizeof(VERSION) <= 32 && sizeof(PROTOCOL) <= 32, "at most 31 characters");     \
  extern "C" {                                                                                                       \
  LONGSHORE_MAPPER_DESCRIPTOR extern constexpr LongshoreDescriptor longshore_mapper_descriptor =                     \
      longshore::descriptor(NAME, VERSION, PROTOCOL, CAPABILITIES);                                                  \
  LONGSHORE_MAPPER_EXPORT const LongshoreMapperApi *longshore_mapper_entry(void) {                                   \
    static const LongshoreMapperApi api = {                                                                          \
        sizeof(LongshoreMapperApi),       LONGSHORE_ABI_MAJOR,                                                       \
        LONGSHORE_ABI_MINOR,              longshore::Exported<TYPE>::create,                                         \
        longshore::Exported<TYPE>::submit, longshore::Exported<TYPE>::stop,                                          \
        longshore::Exported<TYPE>::destroy,                                                                          \
    };                                                                                                               \
    return &api;                                                                                                     \
  }                                                                                                                  \
  }

#endif
