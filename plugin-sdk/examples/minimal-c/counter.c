/* The smallest C mapper: every point is a counter that counts its reads and
 * can be set. Shows the whole contract of longshore_mapper.h.
 *
 * Everything here is quick, so submit answers at once. A mapper that waits for
 * a device copies the commands and hands them to a thread of its own. */

#include <longshore_mapper.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define COUNTERS 1024

LONGSHORE_MAPPER_DESCRIPTOR const LongshoreDescriptor longshore_mapper_descriptor = {
    .magic = LONGSHORE_MAPPER_MAGIC,
    .size = sizeof(LongshoreDescriptor),
    .abi_major = LONGSHORE_ABI_MAJOR,
    .abi_minor = LONGSHORE_ABI_MINOR,
    .capabilities = LONGSHORE_CAPABILITY_READ | LONGSHORE_CAPABILITY_WRITE,
    .name = "minimal-c",
    .version = "0.1.0",
    .protocol = "counter",
    .target = "c",
};

typedef struct {
  const LongshoreHostApi *host;
  pthread_mutex_t lock;
  int stopped;
  int64_t counters[COUNTERS];
} Counter;

static LongshoreBytes text(const char *text) {
  LongshoreBytes bytes = {(const uint8_t *)text, strlen(text)};
  return bytes;
}

static int32_t fail(LongshoreErrorText *error, int32_t status, const char *message) {
  size_t length = strlen(message);
  if (error && error->size >= offsetof(LongshoreErrorText, text) + length) {
    memcpy(error->text, message, length);
    error->length = (uint32_t)length;
  }
  return status;
}

static int32_t create(const LongshoreHostApi *host, LongshoreBytes config, void **instance,
                      LongshoreErrorText *error) {
  (void)config; /* A counter has nothing to configure. */
  if (host->abi_major != LONGSHORE_ABI_MAJOR || host->size < sizeof(LongshoreHostApi))
    return fail(error, LONGSHORE_STATUS_INVALID_ARGUMENT, "the host speaks another version of the contract");
  Counter *counter = calloc(1, sizeof *counter);
  if (!counter)
    return fail(error, LONGSHORE_STATUS_INTERNAL, "out of memory");
  counter->host = host;
  pthread_mutex_init(&counter->lock, NULL);
  host->log(host->context, LONGSHORE_LOG_INFO, text("counting"));
  *instance = counter;
  return LONGSHORE_STATUS_OK;
}

static int64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Carries one command out; `samples` is how many samples it made: 0 or 1. */
static LongshoreCompletion carry_out(Counter *counter, const LongshoreCommand *command,
                                     LongshoreSample *sample, size_t *samples) {
  LongshoreCompletion done = {.token = command->token, .status = LONGSHORE_STATUS_OK};
  *samples = 0;
  switch (command->kind) {
  case LONGSHORE_COMMAND_CONFIGURE:
  case LONGSHORE_COMMAND_REMOVE:
    break;
  case LONGSHORE_COMMAND_READ:
  case LONGSHORE_COMMAND_WRITE:
    if (command->point >= COUNTERS) {
      done.status = LONGSHORE_STATUS_INVALID_ARGUMENT;
      done.message = text("there are 1024 counters");
    } else if (command->kind == LONGSHORE_COMMAND_READ) {
      memset(sample, 0, sizeof *sample);
      sample->point = command->point;
      sample->kind = LONGSHORE_TYPE_INT64;
      sample->quality = LONGSHORE_QUALITY_GOOD;
      sample->source_time_ns = now_ns();
      sample->payload.int64 = ++counter->counters[command->point];
      *samples = 1;
    } else if (command->value.kind == LONGSHORE_TYPE_INT64) {
      counter->counters[command->point] = command->value.payload.int64;
    } else {
      done.status = LONGSHORE_STATUS_INVALID_ARGUMENT;
      done.message = text("a counter takes a signed integer");
    }
    break;
  default:
    done.status = LONGSHORE_STATUS_UNSUPPORTED;
  }
  return done;
}

/* One sample and one completion for each command. The host's queue may be
 * full: then wait and emit the same again. */
static int32_t emit(Counter *counter, const LongshoreSample *sample, size_t samples,
                    const LongshoreCompletion *done) {
  const LongshoreHostApi *host = counter->host;
  LongshoreEventBatch batch = {
      .size = sizeof batch,
      .sample_stride = sizeof *sample,
      .completion_stride = sizeof *done,
      .state_stride = sizeof(LongshoreDeviceState),
      .samples = sample,
      .sample_count = samples,
      .completions = done,
      .completion_count = 1,
  };
  int32_t status;
  while ((status = host->emit(host->context, &batch)) == LONGSHORE_STATUS_WOULD_BLOCK)
    host->wait_writable(host->context, 100000000);
  return status;
}

static int32_t submit(void *instance, const LongshoreCommandBatch *batch) {
  Counter *counter = instance;
  int32_t status = LONGSHORE_STATUS_OK;
  pthread_mutex_lock(&counter->lock);
  if (counter->stopped)
    status = LONGSHORE_STATUS_STOPPED;
  for (size_t i = 0; status == LONGSHORE_STATUS_OK && i < batch->count; i++) {
    /* The host's commands may be longer than the ones that this mapper knows. */
    const LongshoreCommand *command =
        (const LongshoreCommand *)((const char *)batch->commands + i * batch->stride);
    LongshoreSample sample;
    size_t samples;
    LongshoreCompletion done = carry_out(counter, command, &sample, &samples);
    status = emit(counter, &sample, samples, &done);
  }
  pthread_mutex_unlock(&counter->lock);
  return status;
}

static int32_t stop(void *instance, int64_t budget_ns) {
  Counter *counter = instance;
  (void)budget_ns; /* Nothing here takes time. */
  pthread_mutex_lock(&counter->lock);
  counter->stopped = 1;
  pthread_mutex_unlock(&counter->lock);
  return LONGSHORE_STATUS_OK;
}

static void destroy(void *instance) {
  Counter *counter = instance;
  pthread_mutex_destroy(&counter->lock);
  free(counter);
}

const LongshoreMapperApi *longshore_mapper_entry(void) {
  static const LongshoreMapperApi api = {
      .size = sizeof api,
      .abi_major = LONGSHORE_ABI_MAJOR,
      .abi_minor = LONGSHORE_ABI_MINOR,
      .create = create,
      .submit = submit,
      .stop = stop,
      .destroy = destroy,
  };
  return &api;
}
