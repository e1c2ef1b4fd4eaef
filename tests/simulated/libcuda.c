/* A simulated CUDA device: the part of libcuda.so.1 that an engine uses, on host memory and with no GPU.

   It computes nothing. It lets real pycuda and real cuda-bindings run, and it is late, strict and forgetful where a GPU is:

   - Work that was queued is done by one thread a stream, some time later. Who does not wait reads old bytes.
   - Device addresses are no host addresses: who follows one crashes.
   - Every copy is checked against living blocks when it is queued and again when it is done; what was freed in between,
     or is too short, makes every later wait fail with an illegal address, as on a GPU.
   - Without a current context in the calling thread nothing works.
   - It counts: blocks, streams, events and graphs alive, copies from memory that is not pinned, threads that ended with a
     context still pushed. `simulated_statistics` tells.

   Built against NVIDIA's cuda.h by tests/simulated/build.py. Functions that pycuda links to and nobody calls are added
   there; they answer "not supported". */

#define _GNU_SOURCE
#include <cuda.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define API __attribute__((visibility("default"))) CUresult CUDAAPI
#define NOT_AN_ADDRESS ((CUdeviceptr)1 << 52) /* added to a block's host address */
#define DEPTH 16
#define REQUIRE(condition, error) do { if (!(condition)) return error; } while (0)
#define REQUIRE_CONTEXT REQUIRE(stack_of_thread()->depth, CUDA_ERROR_INVALID_CONTEXT)

enum { DEVICE_BLOCKS, PINNED_BLOCKS, DEVICE_BYTES, STREAMS, EVENTS, GRAPHS, COPIES, PAGEABLE_COPIES, ILLEGAL, LEFT_CONTEXTS, COUNTERS };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards all but what a stream or event guards itself */
static long counters[COUNTERS];
static size_t memory_limit = (size_t)8 << 30;
static useconds_t delay_us = 200;
static int started;

static void count(int which, long by)
{
    __atomic_add_fetch(&counters[which], by, __ATOMIC_SEQ_CST);
}

/* ---- contexts: the primary one only, on a stack of its own for every thread */

typedef struct { int depth; } Stack;
static pthread_key_t stack_key;
static pthread_once_t stack_once = PTHREAD_ONCE_INIT;
static int primary_context;

static void thread_ends(void *stack)
{
    if (((Stack *)stack)->depth) count(LEFT_CONTEXTS, 1);
    free(stack);
}

static void make_stack_key(void) { pthread_key_create(&stack_key, thread_ends); }

static Stack *stack_of_thread(void)
{
    pthread_once(&stack_once, make_stack_key);
    Stack *stack = pthread_getspecific(stack_key);
    if (!stack) pthread_setspecific(stack_key, stack = calloc(1, sizeof *stack));
    return stack;
}

API cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device)
{
    REQUIRE(started, CUDA_ERROR_NOT_INITIALIZED);
    *context = (CUcontext)&primary_context;
    return CUDA_SUCCESS;
}

API cuDevicePrimaryCtxRelease(CUdevice device) { return CUDA_SUCCESS; }

API cuCtxPushCurrent(CUcontext context)
{
    REQUIRE(context == (CUcontext)&primary_context && stack_of_thread()->depth < DEPTH, CUDA_ERROR_INVALID_CONTEXT);
    stack_of_thread()->depth++;
    return CUDA_SUCCESS;
}

API cuCtxPopCurrent(CUcontext *context)
{
    REQUIRE_CONTEXT;
    stack_of_thread()->depth--;
    if (context) *context = (CUcontext)&primary_context;
    return CUDA_SUCCESS;
}

API cuCtxGetCurrent(CUcontext *context)
{
    *context = stack_of_thread()->depth ? (CUcontext)&primary_context : NULL;
    return CUDA_SUCCESS;
}

API cuCtxGetDevice(CUdevice *device)
{
    REQUIRE_CONTEXT;
    *device = 0;
    return CUDA_SUCCESS;
}

/* ---- memory */

typedef struct Block { char *start; size_t size; int pinned; struct Block *next; } Block;
static Block *blocks;

static Block *find(const char *start, size_t size, int pinned) /* with the lock held */
{
    for (Block *block = blocks; block; block = block->next)
        if (block->pinned == pinned && start >= block->start && start + size <= block->start + block->size) return block;
    return NULL;
}

static int alive(const void *start, size_t size, int pinned)
{
    pthread_mutex_lock(&lock);
    int found = find(start, size, pinned) != NULL;
    pthread_mutex_unlock(&lock);
    return found;
}

static CUresult allocate(char **start, size_t size, int pinned)
{
    REQUIRE(size, CUDA_ERROR_INVALID_VALUE);
    pthread_mutex_lock(&lock);
    int full = counters[DEVICE_BYTES] + size > memory_limit;
    pthread_mutex_unlock(&lock);
    REQUIRE(!full, CUDA_ERROR_OUT_OF_MEMORY);
    Block *block = malloc(sizeof *block);
    *block = (Block){aligned_alloc(4096, (size + 4095) & ~(size_t)4095), size, pinned, NULL};
    memset(block->start, 0xCD, size); /* new memory is not zero */
    pthread_mutex_lock(&lock);
    block->next = blocks;
    blocks = block;
    pthread_mutex_unlock(&lock);
    count(pinned ? PINNED_BLOCKS : DEVICE_BLOCKS, 1);
    if (!pinned) count(DEVICE_BYTES, size);
    *start = block->start;
    return CUDA_SUCCESS;
}

static CUresult release(char *start, int pinned)
{
    pthread_mutex_lock(&lock);
    Block **at = &blocks;
    while (*at && ((*at)->start != start || (*at)->pinned != pinned)) at = &(*at)->next;
    Block *block = *at;
    if (block) *at = block->next;
    pthread_mutex_unlock(&lock);
    REQUIRE(block, CUDA_ERROR_INVALID_VALUE);
    count(pinned ? PINNED_BLOCKS : DEVICE_BLOCKS, -1);
    if (!pinned) count(DEVICE_BYTES, -(long)block->size);
    free(block->start);
    free(block);
    return CUDA_SUCCESS;
}

static char *host(CUdeviceptr address) { return (char *)(address - NOT_AN_ADDRESS); }

API cuMemAlloc(CUdeviceptr *address, size_t size)
{
    REQUIRE_CONTEXT;
    char *start;
    CUresult result = allocate(&start, size, 0);
    if (!result) *address = (CUdeviceptr)start + NOT_AN_ADDRESS;
    return result;
}

API cuMemFree(CUdeviceptr address)
{
    REQUIRE_CONTEXT;
    return release(host(address), 0);
}

API cuMemHostAlloc(void **start, size_t size, unsigned flags)
{
    REQUIRE_CONTEXT;
    return allocate((char **)start, size, 1);
}

API cuMemFreeHost(void *start)
{
    REQUIRE_CONTEXT;
    return release(start, 1);
}

API cuMemGetInfo(size_t *available, size_t *total)
{
    REQUIRE_CONTEXT;
    *total = memory_limit;
    *available = memory_limit - counters[DEVICE_BYTES];
    return CUDA_SUCCESS;
}

/* ---- streams and events: one thread a stream, first in, first out */

typedef struct Event {
    pthread_mutex_t lock;
    pthread_cond_t changed;
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

static int illegal; /* sticky, as a GPU's context is lost after such an access */

static void reach(Event *event, long number)
{
    pthread_mutex_lock(&event->lock);
    if (number > event->reached) event->reached = number;
    pthread_cond_broadcast(&event->changed);
    pthread_mutex_unlock(&event->lock);
}

static void await(Event *event, long number)
{
    pthread_mutex_lock(&event->lock);
    while (event->reached < number) pthread_cond_wait(&event->changed, &event->lock);
    pthread_mutex_unlock(&event->lock);
}

static void do_copy(Work *work)
{
    usleep(delay_us);
    int ends_alive = alive(work->to, work->size, !work->to_device) || (!work->to_device && !work->from_pinned_or_device);
    int starts_alive = work->owns_from || alive(work->from, work->size, work->to_device);
    if (ends_alive && starts_alive) memcpy(work->to, work->from, work->size);
    else { illegal = 1; count(ILLEGAL, 1); }
}

static void *run_stream(void *argument)
{
    Stream *stream = argument;
    pthread_mutex_lock(&stream->lock);
    for (;;) {
        while (!stream->first && !stream->ends) pthread_cond_wait(&stream->filled, &stream->lock);
        Work *work = stream->first;
        if (!work) break;
        if (!(stream->first = work->next)) stream->last = &stream->first;
        stream->busy = 1;
        pthread_mutex_unlock(&stream->lock);
        switch (work->kind) {
        case COPY: do_copy(work); break;
        case CALL: work->call(work->argument); break;
        case RECORD: reach(work->event, work->number); break;
        case WAIT: await(work->event, work->number); break;
        }
        if (work->owns_from) free((void *)work->from);
        free(work);
        pthread_mutex_lock(&stream->lock);
        stream->busy = 0;
        pthread_cond_broadcast(&stream->drained);
    }
    pthread_mutex_unlock(&stream->lock);
    free(stream);
    return NULL;
}

static void drain(Stream *stream)
{
    pthread_mutex_lock(&stream->lock);
    while (stream->first || stream->busy) pthread_cond_wait(&stream->drained, &stream->lock);
    pthread_mutex_unlock(&stream->lock);
}

static void append(Stream *stream, Work work)
{
    Work *copy = malloc(sizeof *copy);
    *copy = work;
    copy->next = NULL;
    if (stream->recording) {
        Work **at = &stream->recording->first;
        while (*at) at = &(*at)->next;
        *at = copy;
        return;
    }
    pthread_mutex_lock(&stream->lock);
    *stream->last = copy;
    stream->last = &copy->next;
    pthread_cond_signal(&stream->filled);
    pthread_mutex_unlock(&stream->lock);
}

API cuStreamCreate(CUstream *handle, unsigned flags)
{
    REQUIRE_CONTEXT;
    Stream *stream = calloc(1, sizeof *stream);
    pthread_mutex_init(&stream->lock, NULL);
    pthread_cond_init(&stream->filled, NULL);
    pthread_cond_init(&stream->drained, NULL);
    stream->last = &stream->first;
    pthread_create(&stream->thread, NULL, run_stream, stream);
    count(STREAMS, 1);
    *handle = (CUstream)stream;
    return CUDA_SUCCESS;
}

/* Returns at once, as the driver does: what is still queued will be done. */
API cuStreamDestroy(CUstream handle)
{
    REQUIRE_CONTEXT;
    Stream *stream = (Stream *)handle;
    pthread_detach(stream->thread);
    count(STREAMS, -1);
    pthread_mutex_lock(&stream->lock);
    stream->ends = 1;
    pthread_cond_signal(&stream->filled);
    pthread_mutex_unlock(&stream->lock);
    return CUDA_SUCCESS;
}

API cuStreamSynchronize(CUstream handle)
{
    REQUIRE_CONTEXT;
    Stream *stream = (Stream *)handle;
    if (stream->recording) {
        stream->recording_broken = 1;
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    drain(stream);
    return illegal ? CUDA_ERROR_ILLEGAL_ADDRESS : CUDA_SUCCESS;
}

API cuLaunchHostFunc(CUstream stream, CUhostFn function, void *argument)
{
    REQUIRE_CONTEXT;
    append((Stream *)stream, (Work){CALL, .call = function, .argument = argument});
    return CUDA_SUCCESS;
}

API cuEventCreate(CUevent *handle, unsigned flags)
{
    REQUIRE_CONTEXT;
    Event *event = calloc(1, sizeof *event);
    pthread_mutex_init(&event->lock, NULL);
    pthread_cond_init(&event->changed, NULL);
    count(EVENTS, 1);
    *handle = (CUevent)event;
    return CUDA_SUCCESS;
}

API cuEventDestroy(CUevent handle)
{
    Event *event = (Event *)handle;
    pthread_mutex_lock(&event->lock);
    int idle = event->reached == event->wanted;
    pthread_mutex_unlock(&event->lock);
    if (idle) free(event); /* else a stream has yet to come to it */
    count(EVENTS, -1);
    return CUDA_SUCCESS;
}

API cuEventRecord(CUevent handle, CUstream stream)
{
    REQUIRE_CONTEXT;
    Event *event = (Event *)handle;
    append((Stream *)stream, (Work){RECORD, .event = event, .number = ++event->wanted});
    return CUDA_SUCCESS;
}

API cuEventSynchronize(CUevent handle)
{
    Event *event = (Event *)handle;
    await(event, event->wanted);
    return illegal ? CUDA_ERROR_ILLEGAL_ADDRESS : CUDA_SUCCESS;
}

API cuStreamWaitEvent(CUstream stream, CUevent handle, unsigned flags)
{
    REQUIRE_CONTEXT;
    Event *event = (Event *)handle;
    append((Stream *)stream, (Work){WAIT, .event = event, .number = event->wanted});
    return CUDA_SUCCESS;
}

/* ---- copies: only asynchronous ones, which is all that an engine makes */

API cuMemcpyHtoDAsync(CUdeviceptr to, const void *from, size_t size, CUstream stream)
{
    REQUIRE_CONTEXT;
    REQUIRE(alive(host(to), size, 0), CUDA_ERROR_INVALID_VALUE);
    count(COPIES, 1);
    Work work = {COPY, .to = host(to), .from = from, .size = size, .to_device = 1};
    if (!alive(from, size, 1)) { /* the driver takes a copy of such memory first */
        count(PAGEABLE_COPIES, 1);
        work.from = memcpy(malloc(size), from, size);
        work.owns_from = 1;
    }
    append((Stream *)stream, work);
    return CUDA_SUCCESS;
}

API cuMemcpyDtoHAsync(void *to, CUdeviceptr from, size_t size, CUstream stream)
{
    REQUIRE_CONTEXT;
    REQUIRE(alive(host(from), size, 0), CUDA_ERROR_INVALID_VALUE);
    count(COPIES, 1);
    int pinned = alive(to, size, 1);
    Work work = {COPY, .to = to, .from = host(from), .size = size, .from_pinned_or_device = pinned};
    append((Stream *)stream, work);
    if (!pinned) { /* the driver waits where it cannot write by itself */
        count(PAGEABLE_COPIES, 1);
        drain((Stream *)stream);
    }
    return CUDA_SUCCESS;
}

/* ---- graphs: a list of work, recorded once and queued again and again */

static Work *copy_of(const Work *work)
{
    Work *copy = malloc(sizeof *copy);
    *copy = *work;
    copy->next = NULL;
    return copy;
}

static void free_graph(Graph *graph)
{
    for (Work *work = graph->first, *next; work; work = next) {
        next = work->next;
        free(work);
    }
    free(graph);
    count(GRAPHS, -1);
}

API cuStreamBeginCapture(CUstream handle, CUstreamCaptureMode mode)
{
    REQUIRE_CONTEXT;
    Stream *stream = (Stream *)handle;
    REQUIRE(!stream->recording, CUDA_ERROR_ILLEGAL_STATE);
    stream->recording = calloc(1, sizeof(Graph));
    stream->recording_broken = 0;
    count(GRAPHS, 1);
    return CUDA_SUCCESS;
}

API cuStreamEndCapture(CUstream handle, CUgraph *graph)
{
    REQUIRE_CONTEXT;
    Stream *stream = (Stream *)handle;
    REQUIRE(stream->recording, CUDA_ERROR_ILLEGAL_STATE);
    Graph *recorded = stream->recording;
    stream->recording = NULL;
    if (stream->recording_broken) {
        free_graph(recorded);
        *graph = NULL;
        return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    }
    *graph = (CUgraph)recorded;
    return CUDA_SUCCESS;
}

API cuGraphInstantiateWithFlags(CUgraphExec *handle, CUgraph graph, unsigned long long flags)
{
    REQUIRE_CONTEXT;
    Graph *copy = calloc(1, sizeof *copy);
    Work **at = &copy->first;
    for (Work *work = ((Graph *)graph)->first; work; work = work->next, at = &(*at)->next) *at = copy_of(work);
    count(GRAPHS, 1);
    *handle = (CUgraphExec)copy;
    return CUDA_SUCCESS;
}

API cuGraphLaunch(CUgraphExec graph, CUstream stream)
{
    REQUIRE_CONTEXT;
    for (Work *work = ((Graph *)graph)->first; work; work = work->next) append((Stream *)stream, *work);
    return CUDA_SUCCESS;
}

API cuGraphDestroy(CUgraph graph)
{
    free_graph((Graph *)graph);
    return CUDA_SUCCESS;
}

API cuGraphExecDestroy(CUgraphExec graph)
{
    free_graph((Graph *)graph);
    return CUDA_SUCCESS;
}

/* ---- what is asked before all else */

API cuInit(unsigned flags)
{
    const char *text = getenv("SIMULATED_DELAY_US");
    if (text) delay_us = (useconds_t)atol(text);
    started = 1;
    return CUDA_SUCCESS;
}

API cuDriverGetVersion(int *version)
{
    *version = CUDA_VERSION;
    return CUDA_SUCCESS;
}

API cuDeviceGetCount(int *number)
{
    REQUIRE(started, CUDA_ERROR_NOT_INITIALIZED);
    *number = 1;
    return CUDA_SUCCESS;
}

API cuDeviceGet(CUdevice *device, int ordinal)
{
    REQUIRE(started, CUDA_ERROR_NOT_INITIALIZED);
    REQUIRE(!ordinal, CUDA_ERROR_INVALID_DEVICE);
    *device = 0;
    return CUDA_SUCCESS;
}

API cuDeviceGetName(char *name, int size, CUdevice device)
{
    snprintf(name, (size_t)size, "simulated device");
    return CUDA_SUCCESS;
}

API cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice device)
{
    *value = attribute == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR   ? 8
             : attribute == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR ? 7
                                                                         : 0;
    return CUDA_SUCCESS;
}

API cuGetErrorName(CUresult error, const char **text)
{
    *text = "CUDA_ERROR";
    return CUDA_SUCCESS;
}

API cuGetErrorString(CUresult error, const char **text)
{
    switch (error) {
    case CUDA_SUCCESS: *text = "no error"; break;
    case CUDA_ERROR_INVALID_VALUE: *text = "invalid argument"; break;
    case CUDA_ERROR_OUT_OF_MEMORY: *text = "out of memory"; break;
    case CUDA_ERROR_NOT_INITIALIZED: *text = "initialization error"; break;
    case CUDA_ERROR_INVALID_CONTEXT: *text = "invalid device context"; break;
    case CUDA_ERROR_ILLEGAL_ADDRESS: *text = "an illegal memory access was encountered"; break;
    case CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED: *text = "operation not permitted when stream is capturing"; break;
    case CUDA_ERROR_STREAM_CAPTURE_INVALIDATED: *text = "operation failed due to a previous error during capture"; break;
    default: *text = "not supported by the simulated device";
    }
    return CUDA_SUCCESS;
}

/* How cuda-bindings finds functions: by plain name, for the newest version of each. */
API cuGetProcAddress(const char *name, void **function, int version, cuuint64_t flags, CUdriverProcAddressQueryResult *status)
{
    static const char *suffixes[] = {"_v4", "_v3", "_v2", "", "WithFlags"};
    static void *self;
    if (!self) self = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_NOLOAD);
    *function = NULL;
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes && !*function; i++) {
        char full[128];
        snprintf(full, sizeof full, "%s%s", name, suffixes[i]);
        *function = dlsym(self, full);
    }
    if (status) *status = *function ? CU_GET_PROC_ADDRESS_SUCCESS : CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
    return *function ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}

/* ---- for the tests */

#define TEST_API __attribute__((visibility("default")))

TEST_API int simulated_counters(void) { return COUNTERS; }

TEST_API void simulated_statistics(long *values) { memcpy(values, counters, sizeof counters); }

TEST_API void simulated_limit(size_t bytes) { memory_limit = bytes; }

/* Forget an illegal access, as a new process would. */
TEST_API void simulated_reset(void)
{
    illegal = 0;
    counters[ILLEGAL] = 0;
}

/* The host address behind a device address, or NULL where not all of it is one living block: what a kernel would see. */
TEST_API void *simulated_memory(CUdeviceptr address, size_t size)
{
    if (alive(host(address), size, 0)) return host(address);
    illegal = 1;
    count(ILLEGAL, 1);
    return NULL;
}
