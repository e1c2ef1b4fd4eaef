/* Contexts, and memory of the device and of the host. */

#include "simulated.h"
#include <stdint.h>

#define NOT_AN_ADDRESS ((CUdeviceptr)1 << 52) /* added to a block's host address */
#define DEPTH 16

long counters[COUNTERS];
size_t memory_limit = (size_t)8 << 30;

void count(int which, long by)
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

int has_context(void) { return stack_of_thread()->depth > 0; }

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
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards them */

static Block *find(const char *start, size_t size, int pinned) /* with the lock held */
{
    for (Block *block = blocks; block; block = block->next)
        if (block->pinned == pinned && start >= block->start && start + size <= block->start + block->size) return block;
    return NULL;
}

int alive(const void *start, size_t size, int pinned)
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

char *host(CUdeviceptr address) { return (char *)(address - NOT_AN_ADDRESS); }

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

/* As with unified addressing: the GPU finds pinned memory where the host does. */
API cuMemHostGetDevicePointer(CUdeviceptr *address, void *start, unsigned flags)
{
    REQUIRE_CONTEXT;
    REQUIRE(alive(start, 1, 1), CUDA_ERROR_INVALID_VALUE);
    *address = (CUdeviceptr)start;
    return CUDA_SUCCESS;
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
