/* A C mapper for devices that keep one waiting: `submit` copies the commands into
 * a queue, and a thread carries them out one after the other. Beside
 * minimal-c/counter.c it shows the queue, deadlines, writes that go first, the
 * schema, and numbers of any kind.
 *
 * The device is made up: each exchange with it takes 5 ms, and every point of it
 * is a number that can be set. Put your own exchange in the place of `exchange`.
 * A real mapper takes a library for JSON; this one looks for what it needs. */

#include <longshore_mapper.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define POINTS 1024
#define QUEUE 1024
#define MS 1000000LL

LONGSHORE_MAPPER_DESCRIPTOR const LongshoreDescriptor longshore_mapper_descriptor = {
    .magic = LONGSHORE_MAPPER_MAGIC,
    .size = sizeof(LongshoreDescriptor),
    .abi_major = LONGSHORE_ABI_MAJOR,
    .abi_minor = LONGSHORE_ABI_MINOR,
    .capabilities = LONGSHORE_CAPABILITY_READ | LONGSHORE_CAPABILITY_WRITE | LONGSHORE_CAPABILITY_POLL,
    .name = "queued-c",
    .version = "0.1.0",
    .protocol = "slow",
    .target = "c",
};

LONGSHORE_MAPPER_SCHEMA("{\"protocol\": \"slow\", \"description\": \"A device that takes its time.\","
                        " \"device\": {\"type\": \"object\", \"examples\": [{}]},"
                        " \"property\": {\"type\": \"object\", \"examples\": [{}, {}]}}");

typedef struct {
  uint32_t device;
  int32_t priority;
  int64_t interval_ns, due_ns;
  double value;
  int configured;
} Point;

/* A command, with its text, and when it must have ended. */
typedef struct Job {
  struct Job *next;
  LongshoreCommand command;
  int64_t deadline_ns;
  int32_t priority; /* Of a write; the worker knows it. */
  char *text;
} Job;

typedef struct {
  const LongshoreHostApi *host;
  pthread_mutex_t lock; /* Of the queue alone. */
  pthread_cond_t wake;
  pthread_t worker;
  atomic_int stopping;
  Job *first, **last;
  size_t waiting;
  Point points[POINTS]; /* The worker's own: nobody else looks at them. */
  Job *taken;           /* The worker's own: what it took out of the queue. */
} Slow;

static int64_t now_ns(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static LongshoreBytes text(const char *text) {
  LongshoreBytes bytes = {(const uint8_t *)text, strlen(text)};
  return bytes;
}

/* The device's time. Here bytes go out and an answer comes back. */
static void exchange(void) {
  struct timespec time = {0, 5 * MS};
  nanosleep(&time, NULL);
}

/* Takes the whole batch to the host, and waits while that has no room. False once
 * there is no host any more. */
static int emit(Slow *slow, const LongshoreSample *samples, size_t sample_count, const LongshoreCompletion *done) {
  LongshoreEventBatch batch = {
      .size = sizeof batch,
      .sample_stride = sizeof *samples,
      .completion_stride = sizeof *done,
      .state_stride = sizeof(LongshoreDeviceState),
      .samples = samples,
      .sample_count = sample_count,
      .completions = done,
      .completion_count = done ? 1 : 0,
  };
  int32_t status;
  while ((status = slow->host->emit(slow->host->context, &batch)) == LONGSHORE_STATUS_WOULD_BLOCK && !slow->stopping)
    slow->host->wait_writable(slow->host->context, 20 * MS);
  return status != LONGSHORE_STATUS_STOPPED;
}

static LongshoreSample sample(const Slow *slow, uint32_t point, int64_t time) {
  LongshoreSample sample;
  memset(&sample, 0, sizeof sample); /* To its last byte. */
  sample.point = point;
  sample.kind = LONGSHORE_TYPE_FLOAT64;
  sample.quality = LONGSHORE_QUALITY_GOOD;
  sample.source_time_ns = time;
  sample.payload.float64 = slow->points[point].value;
  return sample;
}

static void forget(Slow *slow, uint32_t device) {
  for (size_t i = 0; i < POINTS; i++)
    if (slow->points[i].device == device)
      slow->points[i].configured = 0;
}

static long long number(const char *json, const char *end, const char *key) {
  const char *at = strstr(json, key);
  return at && at < end ? strtoll(at + strlen(key), NULL, 10) : 0;
}

/* Takes `"id":7,"intervalMs":500` of each point, in whatever order; the host
 * writes no spaces there. */
static void configure(Slow *slow, const Job *job) {
  forget(slow, job->command.device);
  int64_t now = now_ns(CLOCK_MONOTONIC); /* One for all, so that they are due together. */
  for (const char *at = strstr(job->text, "\"id\":"), *next; at; at = next) {
    next = strstr(at + 1, "\"id\":");
    const char *end = next ? next : at + strlen(at);
    unsigned long id = strtoul(at + 5, NULL, 10);
    if (id >= POINTS)
      continue;
    Point *point = &slow->points[id];
    point->configured = 1;
    point->device = job->command.device;
    point->interval_ns = number(at, end, "\"intervalMs\":") * MS;
    point->priority = (int32_t)number(at, end, "\"priority\":");
    point->due_ns = now;
  }
}

/* A number of any kind that a FLOAT holds. False for everything else. */
static int value_of(const LongshoreValue *value, double *number) {
  switch (value->kind) {
  case LONGSHORE_TYPE_INT64: *number = (double)value->payload.int64; return 1;
  case LONGSHORE_TYPE_UINT64: *number = (double)value->payload.uint64; return 1;
  case LONGSHORE_TYPE_FLOAT64: *number = value->payload.float64; return *number - *number == 0; /* Finite. */
  default: return 0;
  }
}

static int carry_out(Slow *slow, const Job *job) {
  const LongshoreCommand *command = &job->command;
  LongshoreCompletion done = {.token = command->token, .status = LONGSHORE_STATUS_OK};
  LongshoreSample read;
  size_t samples = 0;
  double number;
  int is_exchange = command->kind == LONGSHORE_COMMAND_READ || command->kind == LONGSHORE_COMMAND_WRITE;
  int known = command->point < POINTS && slow->points[command->point].configured &&
              slow->points[command->point].device == command->device;
  if (is_exchange && !known) {
    done.status = LONGSHORE_STATUS_INVALID_ARGUMENT;
    done.message = text("there is no such point");
  } else if (is_exchange && now_ns(CLOCK_MONOTONIC) >= job->deadline_ns) {
    done.status = LONGSHORE_STATUS_TIMEOUT;
    done.message = text("the device had no time for it");
  } else if (command->kind == LONGSHORE_COMMAND_READ) {
    exchange();
    read = sample(slow, command->point, now_ns(CLOCK_REALTIME));
    samples = 1;
  } else if (command->kind == LONGSHORE_COMMAND_WRITE) {
    if (value_of(&command->value, &number)) {
      exchange();
      slow->points[command->point].value = number;
    } else {
      done.status = LONGSHORE_STATUS_INVALID_ARGUMENT;
      done.message = text("expected a number");
    }
  } else if (command->kind == LONGSHORE_COMMAND_CONFIGURE) {
    configure(slow, job);
  } else if (command->kind == LONGSHORE_COMMAND_REMOVE) {
    forget(slow, command->device);
  } else {
    done.status = LONGSHORE_STATUS_UNSUPPORTED;
  }
  return emit(slow, samples ? &read : NULL, samples, &done);
}

/* All points of a device that are due, as one exchange, one batch and one time. */
static int poll_due(Slow *slow, int64_t *next) {
  LongshoreSample samples[POINTS];
  int64_t now = now_ns(CLOCK_MONOTONIC);
  size_t due = 0;
  for (uint32_t i = 0; i < POINTS; i++) {
    Point *point = &slow->points[i];
    if (!point->configured || point->interval_ns == 0)
      continue;
    if (point->due_ns <= now) {
      if (due == 0)
        exchange();
      samples[due++] = sample(slow, i, 0);
      point->due_ns += point->interval_ns; /* From the due time: no drift. */
      if (point->due_ns < now)
        point->due_ns = now; /* Late: what was missed is not made up for. */
    }
    if (point->due_ns < *next)
      *next = point->due_ns;
  }
  int64_t time = now_ns(CLOCK_REALTIME);
  for (size_t i = 0; i < due; i++)
    samples[i].source_time_ns = time;
  return due == 0 || emit(slow, samples, due, NULL);
}

/* The job that goes next: the first write of the greatest priority, but never a
 * configuration's before it; else the first of all. */
static Job *next_job(Slow *slow) {
  Job **best = &slow->taken;
  for (Job **at = &slow->taken; *at; at = &(*at)->next) {
    uint32_t kind = (*at)->command.kind;
    if (kind == LONGSHORE_COMMAND_CONFIGURE || kind == LONGSHORE_COMMAND_REMOVE)
      break; /* What is behind it belongs to what it makes. */
    if (kind != LONGSHORE_COMMAND_WRITE)
      continue;
    uint32_t point = (*at)->command.point;
    (*at)->priority = point < POINTS ? slow->points[point].priority : 0;
    if ((*best)->command.kind != LONGSHORE_COMMAND_WRITE || (*at)->priority > (*best)->priority)
      best = at;
  }
  Job *job = *best;
  if (job)
    *best = job->next;
  return job;
}

/* Takes what waits to the end of what was taken before. */
static void take(Slow *slow, int64_t until_ns) {
  Job **end = &slow->taken;
  while (*end)
    end = &(*end)->next;
  pthread_mutex_lock(&slow->lock);
  struct timespec until = {until_ns / 1000000000, until_ns % 1000000000};
  if (!slow->first && !slow->taken && !slow->stopping)
    pthread_cond_timedwait(&slow->wake, &slow->lock, &until);
  *end = slow->first;
  slow->first = NULL;
  slow->last = &slow->first;
  pthread_mutex_unlock(&slow->lock);
}

static void free_job(Slow *slow, Job *job) {
  pthread_mutex_lock(&slow->lock);
  slow->waiting--;
  pthread_mutex_unlock(&slow->lock);
  free(job->text);
  free(job);
}

static void *work(void *instance) {
  Slow *slow = instance;
  int has_host = 1;
  while (has_host && !slow->stopping) {
    int64_t next = now_ns(CLOCK_MONOTONIC) + 1000 * MS;
    has_host = poll_due(slow, &next);
    take(slow, next);
    Job *job = has_host && !slow->stopping ? next_job(slow) : NULL;
    if (job) {
      has_host = carry_out(slow, job);
      free_job(slow, job);
    }
  }
  return NULL;
}

static int32_t fail(LongshoreErrorText *error, int32_t status, const char *message) {
  size_t length = strlen(message);
  if (error && error->size >= offsetof(LongshoreErrorText, text) + length) {
    memcpy(error->text, message, length);
    error->length = (uint32_t)length;
  }
  return status;
}

static int32_t create(const LongshoreHostApi *host, LongshoreBytes config, void **instance, LongshoreErrorText *error) {
  (void)config; /* There is nothing to configure. */
  if (host->abi_major != LONGSHORE_ABI_MAJOR || host->size < sizeof(LongshoreHostApi))
    return fail(error, LONGSHORE_STATUS_INVALID_ARGUMENT, "the host speaks another version of the contract");
  Slow *slow = calloc(1, sizeof *slow);
  if (!slow)
    return fail(error, LONGSHORE_STATUS_INTERNAL, "out of memory");
  slow->host = host;
  slow->last = &slow->first;
  pthread_mutex_init(&slow->lock, NULL);
  pthread_condattr_t monotonic; /* So that nobody who sets the clock wakes us. */
  pthread_condattr_init(&monotonic);
  pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
  pthread_cond_init(&slow->wake, &monotonic);
  pthread_condattr_destroy(&monotonic);
  if (pthread_create(&slow->worker, NULL, work, slow) != 0) {
    free(slow);
    return fail(error, LONGSHORE_STATUS_INTERNAL, "failed to start a thread");
  }
  *instance = slow;
  return LONGSHORE_STATUS_OK;
}

static Job *copy_of(const LongshoreCommand *command) {
  Job *job = calloc(1, sizeof *job);
  if (!job || !(job->text = calloc(1, command->text.length + 1))) {
    free(job);
    return NULL;
  }
  if (command->text.length)
    memcpy(job->text, command->text.pointer, command->text.length);
  job->command = *command;
  /* Texts and bytes to write would have to be copied as well; here they are refused. */
  if (command->value.kind == LONGSHORE_TYPE_STRING || command->value.kind == LONGSHORE_TYPE_BYTES)
    memset(&job->command.value.payload, 0, sizeof job->command.value.payload);
  job->deadline_ns = now_ns(CLOCK_MONOTONIC) + command->budget_ns;
  return job;
}

/* Copies all commands, or takes none: it waits for no device. */
static int32_t submit(void *instance, const LongshoreCommandBatch *batch) {
  Slow *slow = instance;
  if (slow->stopping)
    return LONGSHORE_STATUS_STOPPED;
  Job *first = NULL, **last = &first;
  for (size_t i = 0; i < batch->count; i++) {
    LongshoreCommand command = longshore_command(batch, i);
    Job *job = copy_of(&command);
    if (!job) {
      while ((job = first)) {
        first = job->next;
        free(job->text);
        free(job);
      }
      return LONGSHORE_STATUS_BUSY;
    }
    *last = job;
    last = &job->next;
  }
  pthread_mutex_lock(&slow->lock);
  int has_room = slow->waiting + batch->count <= QUEUE;
  if (has_room && first) {
    *slow->last = first;
    slow->last = last;
    slow->waiting += batch->count;
    pthread_cond_signal(&slow->wake);
  }
  pthread_mutex_unlock(&slow->lock);
  while (!has_room && first) {
    Job *job = first;
    first = job->next;
    free(job->text);
    free(job);
  }
  return has_room ? LONGSHORE_STATUS_OK : LONGSHORE_STATUS_BUSY;
}

/* The worker looks at `stopping` after each exchange, which bounds the wait. */
static int32_t stop(void *instance, int64_t budget_ns) {
  Slow *slow = instance;
  (void)budget_ns;
  if (slow->stopping)
    return LONGSHORE_STATUS_OK;
  pthread_mutex_lock(&slow->lock);
  slow->stopping = 1;
  pthread_cond_signal(&slow->wake);
  pthread_mutex_unlock(&slow->lock);
  pthread_join(slow->worker, NULL);
  return LONGSHORE_STATUS_OK;
}

static void destroy(void *instance) {
  Slow *slow = instance;
  stop(slow, 0);
  for (Job *lists[] = {slow->first, slow->taken}, **list = lists; list < lists + 2; list++)
    for (Job *job = *list, *next; job; job = next) {
      next = job->next;
      free(job->text);
      free(job);
    }
  pthread_mutex_destroy(&slow->lock);
  pthread_cond_destroy(&slow->wake);
  free(slow);
}

const LongshoreMapperApi *longshore_mapper_entry(void) {
  static const LongshoreMapperApi api = {
      .size = sizeof(LongshoreMapperApi),
      .abi_major = LONGSHORE_ABI_MAJOR,
      .abi_minor = LONGSHORE_ABI_MINOR,
      .create = create,
      .submit = submit,
      .stop = stop,
      .destroy = destroy,
  };
  return &api;
}
