/* How the runner tells the counting plugin where an inference begins and ends: prctl() with an option no kernel has. */
#ifndef MLOPT_MARKS_H
#define MLOPT_MARKS_H

enum { MARK = 0x6d6c6f70, MARK_BEGIN = 1, MARK_END = 2 };
enum { AARCH64_PRCTL = 167 }; /* the system call's number on that processor */

#endif
