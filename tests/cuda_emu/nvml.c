/* nvml.c - stands in for NVIDIA's management library, under its own name: clocks, ECC, and the
 * reasons for lowered clocks that FAKE_NVML names ("0x44", or "0x40/3": at every third question).
 */
#include <stdio.h>
#include <stdlib.h>

int nvmlInit_v2(void);
int nvmlDeviceGetHandleByPciBusId_v2(const char *bus, void **device);
int nvmlDeviceGetClockInfo(void *device, unsigned which, unsigned *mhz);
int nvmlDeviceGetEccMode(void *device, unsigned *now, unsigned *pending);
int nvmlDeviceGetCurrentClocksEventReasons(void *device, unsigned long long *reasons);

int nvmlInit_v2(void)
{
    return 0;
}

int nvmlDeviceGetHandleByPciBusId_v2(const char *bus, void **device)
{
    *device = (void *)bus;
    return bus[0] == '\0';
}

int nvmlDeviceGetClockInfo(void *device, unsigned which, unsigned *mhz)
{
    *mhz = which == 1 ? 1410 : 1593;
    return device == NULL;
}

int nvmlDeviceGetEccMode(void *device, unsigned *now, unsigned *pending)
{
    *now = *pending = 1;
    return device == NULL;
}

int nvmlDeviceGetCurrentClocksEventReasons(void *device, unsigned long long *reasons)
{
    static int questions;
    const char *text = getenv("FAKE_NVML");
    unsigned long long bits = 0;
    int period = 1;
    if (text != NULL)
        (void)!sscanf(text, "%llx/%d", &bits, &period);
    *reasons = ++questions % period == 0 ? bits : 1; /* idle */
    return device == NULL;
}
