/* The contract between a Longshore mapper host and a mapper library.
 *
 * Made from the Rust types in plugin-sdk/abi/src by cbindgen; do not edit.
 * plugin-sdk/CONTRACT.md says what both sides must do, and
 * plugin-sdk/examples/minimal-c is a mapper in one file of C.
 *
 * Comments name constants without their prefix LONGSHORE_ and types without
 * their prefix Longshore. Needs C11 or C++11. */

#ifndef LONGSHORE_MAPPER_H
#define LONGSHORE_MAPPER_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* First bytes of every descriptor; there is no room for a NUL behind them, so
 * set them with memcpy or as an initialiser of the array, in C:
 *   .magic = LONGSHORE_MAPPER_MAGIC */
#define LONGSHORE_MAPPER_MAGIC "LONGSHORE-MAPPER"

/* Stands before the one LongshoreDescriptor of a library, which is constant:
 *   LONGSHORE_MAPPER_DESCRIPTOR const LongshoreDescriptor descriptor = {...}; */
#define LONGSHORE_MAPPER_DESCRIPTOR \
  __attribute__((used, visibility("default"), section(".longshore_mapper")))

/* The schema of the configuration (CONTRACT 41), which is read without running
 * anything:
 *   LONGSHORE_MAPPER_SCHEMA("{\"protocol\": …}"); */
#define LONGSHORE_MAPPER_SCHEMA(json) \
  __attribute__((used, section(".longshore_schema"))) static const char longshore_mapper_schema[] = json

/* Stands before the entry function. */
#define LONGSHORE_MAPPER_EXPORT __attribute__((visibility("default")))

#ifdef __cplusplus
extern "C" {
#endif

// Incompatible versions differ in this number.
#define LONGSHORE_ABI_MAJOR 1

// Grows with each append to a struct, each new command or status.
#define LONGSHORE_ABI_MINOR 1

// The most that one `EventBatch` may carry, its texts included.
#define LONGSHORE_MAX_BATCH_BYTES (4 << 20)

// Done.
#define LONGSHORE_STATUS_OK 0

// `emit`: the queue is full; nothing of the batch was taken. Wait with
// `wait_writable`, then emit the same batch again.
#define LONGSHORE_STATUS_WOULD_BLOCK 1

// An argument is malformed: unknown device or point, wrong type of value.
#define LONGSHORE_STATUS_INVALID_ARGUMENT 2

// The configuration is wrong; the message tells every fault with its key path.
#define LONGSHORE_STATUS_INVALID_CONFIG 3

// The mapper does not know this command.
#define LONGSHORE_STATUS_UNSUPPORTED 4

// The deadline passed first.
#define LONGSHORE_STATUS_TIMEOUT 5

// The line broke: no connection, or lost before the answer.
#define LONGSHORE_STATUS_LINE 6

// The device answered and said no; the message tells its code.
#define LONGSHORE_STATUS_REFUSED 7

// A panic or exception was caught at the boundary.
#define LONGSHORE_STATUS_PANIC 8

// The instance is stopped.
#define LONGSHORE_STATUS_STOPPED 9

// A queue inside the mapper is full; submit later.
#define LONGSHORE_STATUS_BUSY 10

// A fault of the mapper itself.
#define LONGSHORE_STATUS_INTERNAL 11

// Nothing of the command went out: the device is away, or its turn did not come. A
// command that was sent and got no answer ends with `STATUS_TIMEOUT` or
// `STATUS_LINE` instead: nobody knows what became of it.
#define LONGSHORE_STATUS_NOT_SENT 12

// `Value` types: no value.
#define LONGSHORE_TYPE_NONE 0

// `payload.boolean`, 0 or 1.
#define LONGSHORE_TYPE_BOOL 1

// `payload.int64`.
#define LONGSHORE_TYPE_INT64 2

// `payload.uint64`.
#define LONGSHORE_TYPE_UINT64 3

// `payload.float64`.
#define LONGSHORE_TYPE_FLOAT64 4

// `payload.bytes`, UTF-8.
#define LONGSHORE_TYPE_STRING 5

// `payload.bytes`.
#define LONGSHORE_TYPE_BYTES 6

// Read from the device, no doubt about it.
#define LONGSHORE_QUALITY_GOOD 0

// A value that should be used with care (for example substituted or old).
#define LONGSHORE_QUALITY_UNCERTAIN 1

// No usable value. The sample has `TYPE_NONE` and `payload.bytes` may hold a
// message in UTF-8 that says why.
#define LONGSHORE_QUALITY_BAD 2

// `Sample::reason`: nothing to add.
#define LONGSHORE_REASON_NONE 0

// The line is down or broke.
#define LONGSHORE_REASON_LINE 1

// No answer in time.
#define LONGSHORE_REASON_TIMEOUT 2

// The device refused to read this point.
#define LONGSHORE_REASON_REFUSED 3

// The point's configuration is wrong.
#define LONGSHORE_REASON_CONFIG 4

// The answer could not be decoded.
#define LONGSHORE_REASON_DECODE 5

// The point can be written and not read. What is written to it is a command: the host
// sends it once, and shows what was commanded last.
#define LONGSHORE_REASON_WRITE_ONLY 6

// Create or replace the device `device` from the JSON in `text`.
#define LONGSHORE_COMMAND_CONFIGURE 1

// Forget the device `device` and all of its points.
#define LONGSHORE_COMMAND_REMOVE 2

// Read `point` now, out of turn; its sample is emitted before the completion.
#define LONGSHORE_COMMAND_READ 3

// Write `value` to `point`. Ahead of all reads of the same bus.
#define LONGSHORE_COMMAND_WRITE 4

// Call a method of `device`; `text` is the JSON object `{"name", "config",
// "arguments"}`, and the completion's message is the result as JSON. Since
// minor version 1.
#define LONGSHORE_COMMAND_CALL 5

// Look for devices; `device` is 0, `text` a JSON object that the mapper's
// schema describes under `discovery`, and the completion's message is JSON as
// CONTRACT.md has it. Since minor version 1.
#define LONGSHORE_COMMAND_DISCOVER 6

// `DeviceState::state`: not known yet.
#define LONGSHORE_STATE_UNKNOWN 0

// The device answers.
#define LONGSHORE_STATE_ONLINE 1

// The device does not answer, or its bus is down.
#define LONGSHORE_STATE_OFFLINE 2

// `HostApi::log` level.
#define LONGSHORE_LOG_ERROR 1

// Recovered by itself.
#define LONGSHORE_LOG_WARN 2

// Answers the operator.
#define LONGSHORE_LOG_INFO 3

// For the developer.
#define LONGSHORE_LOG_DEBUG 4

// The mapper answers `COMMAND_READ`.
#define LONGSHORE_CAPABILITY_READ (1 << 0)

// The mapper answers `COMMAND_WRITE`.
#define LONGSHORE_CAPABILITY_WRITE (1 << 1)

// The mapper polls by itself at the intervals of its configuration.
#define LONGSHORE_CAPABILITY_POLL (1 << 2)

// The mapper lets devices send values by themselves (subscriptions,
// notifications, streams).
#define LONGSHORE_CAPABILITY_PUSH (1 << 3)

// The mapper answers `COMMAND_CALL`.
#define LONGSHORE_CAPABILITY_CALL (1 << 4)

// The mapper answers `COMMAND_DISCOVER`.
#define LONGSHORE_CAPABILITY_DISCOVER (1 << 5)

// The mapper judges a configuration that says `"check": true` without taking it
// over: it opens nothing.
#define LONGSHORE_CAPABILITY_CHECK (1 << 6)

// The library was built so that a panic ends the process; the host then
// refuses to load it in-process.
#define LONGSHORE_FLAG_PANIC_ABORTS (1 << 0)

// Borrowed bytes. `pointer` may be null when `length` is 0.
typedef struct {
  // First byte.
  const uint8_t *pointer;
  // Number of bytes.
  size_t length;
} LongshoreBytes;

// The payload of a value; the tag stands in the struct around it.
typedef union {
  // `TYPE_BOOL`: 0 or 1.
  uint8_t boolean;
  // `TYPE_INT64`.
  int64_t int64;
  // `TYPE_UINT64`.
  uint64_t uint64;
  // `TYPE_FLOAT64`.
  double float64;
  // `TYPE_STRING`, `TYPE_BYTES`, and the message of a bad sample.
  LongshoreBytes bytes;
} LongshorePayload;

// What a mapper library says of itself. Fixed size, no pointers, so that it
// can be read straight out of the file. Texts are UTF-8, padded with NUL.
typedef struct {
  // `MAGIC`.
  uint8_t magic[16];
  // Size of this struct in bytes, as the library knows it.
  uint32_t size;
  // Must equal the host's `ABI_MAJOR`.
  uint16_t abi_major;
  // Tells which appended fields and commands the library knows.
  uint16_t abi_minor;
  // Set of `CAPABILITY_*`.
  uint64_t capabilities;
  // Set of `FLAG_*`.
  uint32_t flags;
  // Zero.
  uint32_t reserved;
  // The mapper's name: `[a-z0-9-]`, as in the edge's configuration.
  uint8_t name[32];
  // Semantic version of the mapper.
  uint8_t version[32];
  // The `protocolName` of the devices that it serves.
  uint8_t protocol[32];
  // The target triple that it was built for, for messages to people.
  uint8_t target[64];
} LongshoreDescriptor;

// One reading of one point. 32 bytes where pointers have 64 bits.
typedef struct {
  // The point's id, as given in the device's configuration.
  uint32_t point;
  // `TYPE_*`.
  uint8_t kind;
  // `QUALITY_*`.
  uint8_t quality;
  // `REASON_*`.
  uint16_t reason;
  // When the value was true at its source: nanoseconds since the Unix epoch.
  int64_t source_time_ns;
  // The value.
  LongshorePayload payload;
} LongshoreSample;

// How a command ended.
typedef struct {
  // The command's token.
  uint64_t token;
  // `STATUS_*`.
  int32_t status;
  // Zero.
  uint32_t reserved;
  // Why, for people (UTF-8); empty when there is nothing to say.
  LongshoreBytes message;
} LongshoreCompletion;

// A device came or went.
typedef struct {
  // The device's id.
  uint32_t device;
  // `STATE_*`.
  uint32_t state;
  // Since when: nanoseconds since the Unix epoch.
  int64_t since_ns;
  // Why, for people (UTF-8).
  LongshoreBytes message;
} LongshoreDeviceState;

// What a mapper emits. Applied in this order: states, samples, completions.
typedef struct {
  // Size of this struct.
  uint32_t size;
  // Bytes from one sample to the next.
  uint32_t sample_stride;
  // Bytes from one completion to the next.
  uint32_t completion_stride;
  // Bytes from one state to the next.
  uint32_t state_stride;
  // The samples.
  const LongshoreSample *samples;
  // Number of samples.
  size_t sample_count;
  // The completions.
  const LongshoreCompletion *completions;
  // Number of completions.
  size_t completion_count;
  // The device states.
  const LongshoreDeviceState *states;
  // Number of device states.
  size_t state_count;
} LongshoreEventBatch;

// What the host offers. Valid from `create` until `destroy` returns; every
// function may be called from any thread.
typedef struct {
  // Size of this struct.
  uint32_t size;
  // The host's `ABI_MAJOR`.
  uint16_t abi_major;
  // The host's `ABI_MINOR`.
  uint16_t abi_minor;
  // Passed back in every call.
  void *context;
  // Takes the whole batch (`STATUS_OK`) or nothing of it
  // (`STATUS_WOULD_BLOCK`, `STATUS_STOPPED`, and
  // `STATUS_INVALID_ARGUMENT` for a malformed batch or one of more than
  // `MAX_BATCH_BYTES`). Never blocks.
  int32_t (*emit)(void *context, const LongshoreEventBatch *batch);
  // Waits until `emit` has room again, at most `timeout_ns`.
  // `STATUS_OK`, `STATUS_TIMEOUT` or `STATUS_STOPPED`.
  int32_t (*wait_writable)(void *context, int64_t timeout_ns);
  // Writes a line to the host's log.
  void (*log)(void *context, uint32_t level, LongshoreBytes message);
} LongshoreHostApi;

// Room for a message about a failed call; the caller owns it.
typedef struct {
  // Size of this struct.
  uint32_t size;
  // Bytes used of `text`.
  uint32_t length;
  // UTF-8.
  uint8_t text[1016];
} LongshoreErrorText;

// A typed value.
typedef struct {
  // `TYPE_*`.
  uint8_t kind;
  // Zero.
  uint8_t reserved[7];
  // The value.
  LongshorePayload payload;
} LongshoreValue;

// What the host asks for.
typedef struct {
  // `COMMAND_*`.
  uint32_t kind;
  // The device's id, chosen by the host, unique in this instance.
  uint32_t device;
  // The point's id, for reads and writes.
  uint32_t point;
  // Zero.
  uint32_t reserved;
  // Comes back in the `Completion`. Each command gets exactly one.
  uint64_t token;
  // Time that the command may take from `submit` on, in nanoseconds.
  int64_t budget_ns;
  // The value to write.
  LongshoreValue value;
  // The configuration (JSON, UTF-8).
  LongshoreBytes text;
} LongshoreCommand;

// Commands, oldest first.
typedef struct {
  // Size of this struct.
  uint32_t size;
  // Bytes from one command to the next.
  uint32_t stride;
  // Number of commands.
  size_t count;
  // The first command.
  const LongshoreCommand *commands;
} LongshoreCommandBatch;

// What a mapper library offers.
typedef struct {
  // Size of this struct.
  uint32_t size;
  // The library's `ABI_MAJOR`.
  uint16_t abi_major;
  // The library's `ABI_MINOR`.
  uint16_t abi_minor;
  // Makes an instance from the mapper's own configuration (JSON object).
  // Several instances may live side by side.
  int32_t (*create)(const LongshoreHostApi *host,
                    LongshoreBytes config,
                    void **instance,
                    LongshoreErrorText *error);
  // Takes commands. Never waits for a device and never does I/O: it copies
  // what it needs. `STATUS_OK` means that each command will get its
  // completion; every other status means that none was taken.
  int32_t (*submit)(void *instance, const LongshoreCommandBatch *batch);
  // Ends all work within `budget_ns`; nothing is emitted afterwards.
  int32_t (*stop)(void *instance, int64_t budget_ns);
  // Frees the instance. Stops it first if need be.
  void (*destroy)(void *instance);
} LongshoreMapperApi;

/* Command `i` of a batch, whatever the host's version: what an older one does not
 * send is zero, and what a newer one adds is left out. */
static inline LongshoreCommand longshore_command(const LongshoreCommandBatch *batch, size_t i) {
  LongshoreCommand command;
  const uint8_t *at = (const uint8_t *)batch->commands + i * batch->stride;
  memset(&command, 0, sizeof command);
  memcpy(&command, at, batch->stride < sizeof command ? batch->stride : sizeof command);
  return command;
}

/* Every mapper library exports it. */
LONGSHORE_MAPPER_EXPORT const LongshoreMapperApi *longshore_mapper_entry(void);

#ifdef __cplusplus
}
#endif

#endif /* LONGSHORE_MAPPER_H */
