/* Streams and events: one thread a stream, first in, first out. */

#include "simulated.h"
#include <time.h>

int illegal;
useconds_t delay_us = 200;

static void reach(Event *event, long number)
{
    pthread_mutex_lock(&event->lock);
    if (number > event->reached) event->reached = number;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    event->at_ms = 1e3 * now.tv_sec + 1e-6 * now.tv_nsec;
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

void count_copy(const Work *work)
{
    count(COPIES, 1);
    count(work->to_device ? BYTES_IN : BYTES_OUT, work->size);
}

void drain(Stream *stream)
{
    pthread_mutex_lock(&stream->lock);
    while (stream->first || stream->busy) pthread_cond_wait(&stream->drained, &stream->lock);
    pthread_mutex_unlock(&stream->lock);
}

void append(Stream *stream, Work work)
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

#define GREATEST_PRIORITY (-5)

API cuCtxGetStreamPriorityRange(int *least, int *greatest)
{
    REQUIRE_CONTEXT;
    if (least) *least = 0;
    if (greatest) *greatest = GREATEST_PRIORITY;
    return CUDA_SUCCESS;
}

API cuStreamCreateWithPriority(CUstream *handle, unsigned flags, int priority)
{
    REQUIRE_CONTEXT;
    REQUIRE(priority >= GREATEST_PRIORITY && priority <= 0, CUDA_ERROR_INVALID_VALUE);
    if (priority == GREATEST_PRIORITY) count(URGENT_STREAMS, 1);
    return cuStreamCreate(handle, flags);
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
    count(WAITS, 1);
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
    event->flags = flags;
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
    count(WAITS, 1);
    await(event, event->wanted);
    return illegal ? CUDA_ERROR_ILLEGAL_ADDRESS : CUDA_SUCCESS;
}

API cuEventQuery(CUevent handle)
{
    Event *event = (Event *)handle;
    pthread_mutex_lock(&event->lock);
    int idle = event->reached == event->wanted;
    pthread_mutex_unlock(&event->lock);
    return !idle ? CUDA_ERROR_NOT_READY : illegal ? CUDA_ERROR_ILLEGAL_ADDRESS : CUDA_SUCCESS;
}

API cuEventElapsedTime(float *ms, CUevent start, CUevent end)
{
    Event *from = (Event *)start, *to = (Event *)end;
    int timed = !((from->flags | to->flags) & CU_EVENT_DISABLE_TIMING) && from->wanted && to->wanted;
    REQUIRE(timed, CUDA_ERROR_INVALID_HANDLE);
    REQUIRE(cuEventQuery(start) == CUDA_SUCCESS && cuEventQuery(end) == CUDA_SUCCESS, CUDA_ERROR_NOT_READY);
    *ms = (float)(to->at_ms - from->at_ms);
    return CUDA_SUCCESS;
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
    Work work = {COPY, .to = host(to), .from = from, .size = size, .to_device = 1};
    if (!((Stream *)stream)->recording) count_copy(&work);
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
    int pinned = alive(to, size, 1);
    Work work = {COPY, .to = to, .from = host(from), .size = size, .from_pinned_or_device = pinned};
    if (!((Stream *)stream)->recording) count_copy(&work);
    append((Stream *)stream, work);
    if (!pinned) { /* the driver waits where it cannot write by itself */
        count(PAGEABLE_COPIES, 1);
        drain((Stream *)stream);
    }
    return CUDA_SUCCESS;
}
