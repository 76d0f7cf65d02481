/* A clock that can be set back while a process runs, for tests.sweep.soak: preloaded, it takes from the time of day as
   many seconds as the 8-byte integer in the file CLOCK_BACK says. Monotonic clocks are left alone, as they are when
   somebody sets a machine's clock. (libfaketime 0.9.10 changes them too, and makes Python's time.sleep fail.) */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>

static volatile int64_t *back;
static int (*real)(clockid_t, struct timespec *);

__attribute__((constructor)) static void open_file(void) {
  const char *path = getenv("CLOCK_BACK");
  int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  void *seen = file < 0 ? MAP_FAILED : mmap(0, sizeof *back, PROT_READ, MAP_SHARED, file, 0);
  real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
  if (seen != MAP_FAILED) back = seen;
}

int clock_gettime(clockid_t which, struct timespec *now) {
  if (!real) open_file();
  int code = real(which, now);
  if (!code && back && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE)) now->tv_sec -= *back;
  return code;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  struct timespec fine;
  int code = clock_gettime(CLOCK_REALTIME, &fine);
  now->tv_sec = fine.tv_sec;
  now->tv_usec = fine.tv_nsec / 1000;
  return code;
}

time_t time(time_t *kept) {
  struct timespec fine;
  clock_gettime(CLOCK_REALTIME, &fine);
  if (kept) *kept = fine.tv_sec;
  return fine.tv_sec;
}
