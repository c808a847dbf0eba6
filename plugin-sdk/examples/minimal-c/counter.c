/* The smallest C mapper: every point is a counter that counts its reads and
 * can be set. Shows the whole contract of longshore_mapper.h.
 *
 * A thread polls. Everything here is quick, so submit answers at once; a mapper
 * that waits for a device copies the commands and hands them to its thread. */

#include <longshore_mapper.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define COUNTERS 1024

LONGSHORE_MAPPER_DESCRIPTOR const LongshoreDescriptor longshore_mapper_descriptor = {
    .magic = LONGSHORE_MAPPER_MAGIC,
    .size = sizeof(LongshoreDescriptor),
    .abi_major = LONGSHORE_ABI_MAJOR,
    .abi_minor = LONGSHORE_ABI_MINOR,
    .capabilities = LONGSHORE_CAPABILITY_READ | LONGSHORE_CAPABILITY_WRITE | LONGSHORE_CAPABILITY_POLL,
    .name = "minimal-c",
    .version = "0.1.0",
    .protocol = "counter",
    .target = "c",
};

/* When a counter is polled; never if the interval is 0. */
typedef struct {
  uint32_t device;
  int64_t interval_ns, due_ns;
} Polling;

typedef struct {
  const LongshoreHostApi *host;
  pthread_mutex_t lock; /* Of all below. */
  pthread_cond_t wake;
  pthread_t poller;
  atomic_int stopping;
  int64_t counters[COUNTERS];
  Polling polled[COUNTERS];
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

static void *poll_counters(void *instance);

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
  pthread_condattr_t monotonic; /* So that nobody who sets the clock wakes us. */
  pthread_condattr_init(&monotonic);
  pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
  pthread_cond_init(&counter->wake, &monotonic);
  if (pthread_create(&counter->poller, NULL, poll_counters, counter) != 0) {
    free(counter);
    return fail(error, LONGSHORE_STATUS_INTERNAL, "failed to start a thread");
  }
  host->log(host->context, LONGSHORE_LOG_INFO, text("counting"));
  *instance = counter;
  return LONGSHORE_STATUS_OK;
}

static int64_t now_ns(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* The counter's next value; `time` is that of all that is read with it. */
static LongshoreSample count(Counter *counter, uint32_t point, int64_t time) {
  LongshoreSample sample;
  memset(&sample, 0, sizeof sample); /* To its last byte. */
  sample.point = point;
  sample.kind = LONGSHORE_TYPE_INT64;
  sample.quality = LONGSHORE_QUALITY_GOOD;
  sample.source_time_ns = time;
  sample.payload.int64 = ++counter->counters[point];
  return sample;
}

static void forget(Counter *counter, uint32_t device) {
  for (size_t i = 0; i < COUNTERS; i++)
    if (counter->polled[i].device == device)
      counter->polled[i].interval_ns = 0;
}

/* Takes `"id":7,"intervalMs":500` of each point, in whatever order; the host
 * writes no spaces there. A real mapper takes a library for JSON. */
static void configure(Counter *counter, const LongshoreCommand *command) {
  forget(counter, command->device);
  char *json = strndup(command->text.length ? (const char *)command->text.pointer : "", command->text.length);
  int64_t now = now_ns(CLOCK_MONOTONIC); /* One for all, so that they are due together. */
  char *at = json ? strstr(json, "\"id\":") : NULL;
  while (at) {
    char *next = strstr(at + 1, "\"id\":");
    if (next)
      next[-1] = 0; /* Each point is looked at alone. */
    unsigned long id = strtoul(at + 5, NULL, 10);
    const char *interval = strstr(at, "\"intervalMs\":");
    if (id < COUNTERS && interval) {
      Polling *polling = &counter->polled[id];
      polling->device = command->device;
      polling->interval_ns = strtol(interval + 13, NULL, 10) * 1000000;
      polling->due_ns = now;
    }
    at = next;
  }
  free(json);
  pthread_cond_signal(&counter->wake);
}

/* Carries one command out; `samples` is how many samples it made: 0 or 1. */
static LongshoreCompletion carry_out(Counter *counter, const LongshoreCommand *command,
                                     LongshoreSample *sample, size_t *samples) {
  LongshoreCompletion done = {.token = command->token, .status = LONGSHORE_STATUS_OK};
  *samples = 0;
  switch (command->kind) {
  case LONGSHORE_COMMAND_CONFIGURE:
    configure(counter, command);
    break;
  case LONGSHORE_COMMAND_REMOVE:
    forget(counter, command->device);
    break;
  case LONGSHORE_COMMAND_READ:
  case LONGSHORE_COMMAND_WRITE:
    if (command->point >= COUNTERS) {
      done.status = LONGSHORE_STATUS_INVALID_ARGUMENT;
      done.message = text("there are 1024 counters");
    } else if (command->kind == LONGSHORE_COMMAND_READ) {
      *sample = count(counter, command->point, now_ns(CLOCK_REALTIME));
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

/* The host's queue may be full: then wait and emit the same again. */
static int32_t emit(Counter *counter, const LongshoreSample *samples, size_t sample_count,
                    const LongshoreCompletion *done, size_t done_count) {
  const LongshoreHostApi *host = counter->host;
  LongshoreEventBatch batch = {
      .size = sizeof batch,
      .sample_stride = sizeof *samples,
      .completion_stride = sizeof *done,
      .state_stride = sizeof(LongshoreDeviceState),
      .samples = samples,
      .sample_count = sample_count,
      .completions = done,
      .completion_count = done_count,
  };
  int32_t status;
  while ((status = host->emit(host->context, &batch)) == LONGSHORE_STATUS_WOULD_BLOCK && !counter->stopping)
    host->wait_writable(host->context, 20000000);
  return status;
}

/* The thread: all counters that are due in one batch, then a rest. */
static void *poll_counters(void *instance) {
  Counter *counter = instance;
  LongshoreSample samples[COUNTERS];
  int32_t status = LONGSHORE_STATUS_OK;
  pthread_mutex_lock(&counter->lock);
  while (!counter->stopping && status != LONGSHORE_STATUS_STOPPED) {
    int64_t now = now_ns(CLOCK_MONOTONIC), time = now_ns(CLOCK_REALTIME), next = now + 1000000000;
    size_t due = 0;
    for (uint32_t i = 0; i < COUNTERS; i++) {
      Polling *polling = &counter->polled[i];
      if (polling->interval_ns == 0)
        continue;
      if (polling->due_ns <= now) {
        samples[due++] = count(counter, i, time);
        polling->due_ns += polling->interval_ns; /* From the due time: no drift. */
        if (polling->due_ns < now)
          polling->due_ns = now; /* Late: what was missed is not made up for. */
      }
      if (polling->due_ns < next)
        next = polling->due_ns;
    }
    if (due > 0)
      status = emit(counter, samples, due, NULL, 0);
    struct timespec until = {next / 1000000000, next % 1000000000};
    if (!counter->stopping)
      pthread_cond_timedwait(&counter->wake, &counter->lock, &until);
  }
  pthread_mutex_unlock(&counter->lock);
  return NULL;
}

static int32_t submit(void *instance, const LongshoreCommandBatch *batch) {
  Counter *counter = instance;
  int32_t status = LONGSHORE_STATUS_OK;
  pthread_mutex_lock(&counter->lock);
  if (counter->stopping)
    status = LONGSHORE_STATUS_STOPPED;
  for (size_t i = 0; status == LONGSHORE_STATUS_OK && i < batch->count; i++) {
    /* The host's commands may be longer than the ones that this mapper knows. */
    const LongshoreCommand *command =
        (const LongshoreCommand *)((const char *)batch->commands + i * batch->stride);
    LongshoreSample sample;
    size_t samples;
    LongshoreCompletion done = carry_out(counter, command, &sample, &samples);
    status = emit(counter, &sample, samples, &done, 1);
  }
  pthread_mutex_unlock(&counter->lock);
  return status;
}

static int32_t stop(void *instance, int64_t budget_ns) {
  Counter *counter = instance;
  (void)budget_ns; /* Nothing here takes time. */
  if (counter->stopping)
    return LONGSHORE_STATUS_OK;
  counter->stopping = 1; /* Before the lock, which the thread may hold while it waits for room. */
  pthread_mutex_lock(&counter->lock);
  pthread_cond_signal(&counter->wake);
  pthread_mutex_unlock(&counter->lock);
  pthread_join(counter->poller, NULL);
  return LONGSHORE_STATUS_OK;
}

static void destroy(void *instance) {
  Counter *counter = instance;
  stop(counter, 0); /* If nobody did. */
  pthread_mutex_destroy(&counter->lock);
  pthread_cond_destroy(&counter->wake);
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
