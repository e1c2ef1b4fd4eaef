/* What is asked before all else, how functions are found, and what the tests ask. */

#include "simulated.h"
#include <dlfcn.h>
#include <stdio.h>

int started;

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

API cuDeviceTotalMem_v2(size_t *bytes, CUdevice device)
{
    *bytes = (size_t)8 << 30;
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
    if (alive((void *)address, size, 1)) return (void *)address;
    illegal = 1;
    count(ILLEGAL, 1);
    return NULL;
}
