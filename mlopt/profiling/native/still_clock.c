/* A clock that moves by one microsecond each time it is read, linked into the runner that counts instructions.
 *
 * LiteRT's own matrix library asks the time to choose its kernels and to repeat the choice now and then; by the real
 * clock its count changes from run to run. The executable's function stands before the C library's.
 */
#define _POSIX_C_SOURCE 200809L
#include <time.h>

int clock_gettime(clockid_t clock, struct timespec *time)
{
    static long long microseconds = 1000000;
    long long now = __atomic_add_fetch(&microseconds, 1, __ATOMIC_RELAXED);
    (void)clock;
    time->tv_sec = (time_t)(now / 1000000);
    time->tv_nsec = (long)(now % 1000000) * 1000;
    return 0;
}
