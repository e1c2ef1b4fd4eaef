/* Graphs: a list of work, recorded once and queued again and again. */

#include "simulated.h"

static Work *copy_of(const Work *work)
{
    Work *copy = malloc(sizeof *copy);
    *copy = *work;
    copy->next = NULL;
    return copy;
}

void free_graph(Graph *graph)
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
    count(REPLAYS, 1);
    for (Work *work = ((Graph *)graph)->first; work; work = work->next) {
        if (work->kind == COPY) count_copy(work);
        append((Stream *)stream, *work);
    }
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
