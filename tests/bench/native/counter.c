/* Tells callgrind (--instr-atstart=no) which part of a program to count; without valgrind it does nothing. */
#include <valgrind/callgrind.h>

void begin(void) { CALLGRIND_START_INSTRUMENTATION; }
void end(void) { CALLGRIND_STOP_INSTRUMENTATION; }
