#pragma once

#include "engine/context.h"

namespace fulmar::tools {

// SIGINT and SIGTERM ask the program to stop; the second of them ends it at once with 130. A write
// into a closed pipe or beyond the limit of file sizes (SIGXFSZ) gives an error, not a signal.
// Descriptors 0 to 2 that the caller closed are occupied, so that no file opened later is taken for
// one of them.
void take_over_process();

// Whether a signal asked to stop. For loops that no Context stops.
bool interrupted();
// Error(cancelled) if so.
void stop_if_interrupted();

// While it lives, a signal sets the context's cancel flag.
class CancelOnSignal {
 public:
  explicit CancelOnSignal(Context& context);
  ~CancelOnSignal();
  CancelOnSignal(const CancelOnSignal&) = delete;
  CancelOnSignal& operator=(const CancelOnSignal&) = delete;
};

// Ends the process as a tool ends whose reader has gone: by SIGPIPE.
[[noreturn]] void end_by_closed_pipe();

}  // namespace fulmar::tools
