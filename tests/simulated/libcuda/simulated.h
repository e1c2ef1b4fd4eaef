/* A simulated CUDA device: the part of libcuda.so.1 that an engine uses, on host memory and with no GPU.

   It computes nothing. It lets real pycuda and real cuda-bindings run, and it is late, strict and forgetful where a GPU is:

   - Work that was queued is done by one thread a stream, some time later. Who does not wait reads old bytes.
   - Device addresses are no host addresses: who follows one crashes.
   - Every copy is checked against living blocks when it is queued and again when it is done; what was freed in between,
     or is too short, makes every later wait fail with an illegal address, as on a GPU.
   - Without a current context in the calling thread nothing works.
   - It counts: blocks, streams, events and graphs alive, copies and those from memory that is not pinned (also those that a
     graph repeats), waits of the host, replays of graphs, bytes copied to the device and from it, streams of the greatest priority that were made, threads that ended
     with a context still pushed. `simulated_statistics` tells.

   Built against NVIDIA's cuda.h by tests/simulated/build.py. Functions that pycuda links to and nobody calls are added
   there; they answer "not supported". */

#ifndef SIMULATED_H
#define SIMULATED_H
#define _GNU_SOURCE
#include <cuda.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define API __attribute__((visibility("default"))) CUresult CUDAAPI
#define REQUIRE(condition, error) do { if (!(condition)) return error; } while (0)
#define REQUIRE_CONTEXT REQUIRE(has_context(), CUDA_ERROR_INVALID_CONTEXT)

enum {
    DEVICE_BLOCKS, PINNED_BLOCKS, DEVICE_BYTES, STREAMS, EVENTS, GRAPHS, COPIES, PAGEABLE_COPIES, ILLEGAL, LEFT_CONTEXTS,
    WAITS, REPLAYS, URGENT_STREAMS, BYTES_IN, BYTES_OUT,
    COUNTERS
};

extern long counters[COUNTERS];
extern size_t memory_limit;
extern useconds_t delay_us; /* of every copy */
extern int started;         /* cuInit was called */
extern int illegal;         /* sticky, as a GPU's context is lost after such an access */

void count(int which, long by);
int has_context(void);

/* Whether all of a host or device block's bytes are one living block; and the host address behind a device address. */
int alive(const void *start, size_t size, int pinned);
char *host(CUdeviceptr address);

typedef struct Event {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned flags;
    double at_ms; /* when the stream came to it last */
    long wanted, reached; /* how often it was recorded, and how many of these records the stream has come to */
} Event;

typedef struct Work {
    enum { COPY, CALL, RECORD, WAIT } kind;
    char *to;
    const char *from;
    size_t size;
    int to_device, from_pinned_or_device, owns_from;
    CUhostFn call;
    void *argument;
    Event *event;
    long number;
    struct Work *next;
} Work;

typedef struct Graph { Work *first; } Graph;

typedef struct Stream {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t filled, drained;
    Work *first, **last;
    int busy, ends;
    Graph *recording; /* while it is captured */
    int recording_broken;
} Stream;

/* Count a copy that is queued, and its bytes. */
void count_copy(const Work *work);

/* Queue a copy of `work`, or record it where the stream is captured. */
void append(Stream *stream, Work work);
void drain(Stream *stream);
void free_graph(Graph *graph);

#endif
