/* A small polled mapper in C++: how busy this machine is, from /proc/loadavg.
 *
 * The point's `address` is "1", "5" or "15": the average over so many minutes.
 * A real mapper takes a library for JSON; this one looks for the three keys
 * that it needs, which the host writes without spaces. */

#include <longshore_mapper.hpp>

#include <cstdlib>
#include <fstream>
#include <map>

using namespace std::chrono;
using longshore::Command;
using longshore::Event;
using longshore::Instant;

namespace {

struct Point {
  uint32_t device;
  size_t column; /* In /proc/loadavg; 3 means that its configuration is wrong. */
  milliseconds interval;
  Instant due;
};

class LoadAverage : public longshore::Mapper {
public:
  explicit LoadAverage(std::string_view) {} /* There is nothing to configure. */

  void carry_out(const Command &command, Event &event) override {
    switch (command.kind) {
    case LONGSHORE_COMMAND_CONFIGURE:
      forget(command.device);
      configure(command, event);
      break;
    case LONGSHORE_COMMAND_REMOVE:
      forget(command.device);
      break;
    case LONGSHORE_COMMAND_READ:
      if (auto found = points_.find(command.point); found != points_.end())
        read(found->first, found->second, longshore::now_ns(), event);
      else
        event.done(command, LONGSHORE_STATUS_INVALID_ARGUMENT, "there is no such point");
      break;
    case LONGSHORE_COMMAND_WRITE:
      event.done(command, LONGSHORE_STATUS_REFUSED, "nobody can set how busy a machine is");
      break;
    default:
      event.done(command, LONGSHORE_STATUS_UNSUPPORTED);
    }
  }

  std::optional<Instant> tick(Event &event) override {
    const Instant now = steady_clock::now();
    const int64_t time = longshore::now_ns(); /* One for all: points of a group are one snapshot. */
    std::optional<Instant> next;
    for (auto &[id, point] : points_) {
      if (point.interval == milliseconds::zero())
        continue;
      if (point.due <= now) {
        read(id, point, time, event);
        /* From the last due time on, so that the pace does not drift. */
        point.due = std::max(point.due + point.interval, now);
      }
      next = std::min(next.value_or(point.due), point.due);
    }
    return next;
  }

private:
  void forget(uint32_t device) {
    for (auto at = points_.begin(); at != points_.end();)
      at = at->second.device == device ? points_.erase(at) : std::next(at);
  }

  /* Each point begins with `"id":N,"intervalMs":M` in some order. */
  void configure(const Command &command, Event &event) {
    const std::string &json = command.text;
    const Instant now = steady_clock::now();
    std::string faults;
    size_t index = 0;
    for (size_t at = json.find("\"id\":"); at != std::string::npos; index++) {
      const size_t end = json.find("\"id\":", at + 1);
      const std::string point = json.substr(at, end == std::string::npos ? end : end - at);
      const auto id = static_cast<uint32_t>(std::strtoul(point.c_str() + 5, nullptr, 10));
      const size_t column = column_of(point);
      points_[id] = {command.device, column, milliseconds(number_after(point, "\"intervalMs\":")), now};
      if (column == 3)
        faults += std::string(faults.empty() ? "[" : ",") + "{\"path\":\"points[" + std::to_string(index) +
                  "].config.address\",\"message\":\"expected 1, 5 or 15\",\"level\":\"error\"}";
      at = end;
    }
    event.state(command.device, true);
    event.done(command, LONGSHORE_STATUS_OK, faults.empty() ? faults : faults + "]");
  }

  static int64_t number_after(const std::string &json, const char *key) {
    const size_t at = json.find(key);
    return at == std::string::npos ? 1000 : std::strtol(json.c_str() + at + std::strlen(key), nullptr, 10);
  }

  static size_t column_of(const std::string &point) {
    static const char *const addresses[] = {"\"address\":\"1\"", "\"address\":\"5\"", "\"address\":\"15\""};
    for (size_t column = 0; column < 3; column++)
      if (point.find(addresses[column]) != std::string::npos)
        return column;
    return 3;
  }

  static void read(uint32_t id, const Point &point, int64_t time, Event &event) {
    if (point.column == 3)
      return event.bad(id, LONGSHORE_REASON_CONFIG, "expected 1, 5 or 15", time);
    std::ifstream file("/proc/loadavg");
    double value = 0;
    for (size_t i = 0; i <= point.column; i++)
      file >> value;
    if (file)
      event.good(id, value, time);
    else
      event.bad(id, LONGSHORE_REASON_LINE, "failed to read /proc/loadavg", time);
  }

  std::map<uint32_t, Point> points_;
};

} // namespace

LONGSHORE_EXPORT_MAPPER(LoadAverage, "minimal-cpp", "0.1.0", "loadavg",
                        LONGSHORE_CAPABILITY_READ | LONGSHORE_CAPABILITY_POLL)

/* What `longshore explain loadavg` shows. */
__attribute__((used, section(".longshore_schema"))) static const char schema[] = R"({
  "protocol": "loadavg",
  "description": "How busy this machine is.",
  "device": {"type": "object", "examples": [{}]},
  "property": {
    "type": "object", "required": ["address"], "examples": [{"address": "1"}, {"address": "15"}],
    "properties": {"address": {"enum": ["1", "5", "15"], "description": "The average over so many minutes."}}
  }
})";
