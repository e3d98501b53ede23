#include "tools/signals.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <string_view>

#include "kernels/error.h"
#include "tools/exit_code.h"

namespace fulmar::tools {
namespace {

std::atomic<bool> stop{false};
std::atomic<std::atomic<bool>*> cancel_flag{nullptr};
static_assert(std::atomic<bool>::is_always_lock_free &&
                  std::atomic<std::atomic<bool>*>::is_always_lock_free,
              "used in a signal handler");

void on_signal(int) {
  if (stop.exchange(true)) ::_exit(exit_cancelled);
  if (std::atomic<bool>* flag = cancel_flag.load()) flag->store(true);
}

}  // namespace

void take_over_process() {
  for (int descriptor = 0; descriptor <= 2; descriptor++)
    if (::fcntl(descriptor, F_GETFD) < 0) {
      // The lowest free one is taken. Writing to it fails: stdout that is closed stays an error.
      const int opened = ::open("/dev/null", O_RDONLY);
      if (opened != descriptor && opened >= 0) ::close(opened);
    }
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
}

bool interrupted() { return stop.load(std::memory_order_relaxed); }

void stop_if_interrupted() {
  if (interrupted()) throw Error(ErrorKind::cancelled, "interrupted");
}

CancelOnSignal::CancelOnSignal(Context& context) {
  cancel_flag.store(&context.cancel);
  if (interrupted()) context.cancel.store(true);
}

CancelOnSignal::~CancelOnSignal() { cancel_flag.store(nullptr); }

void end_by_closed_pipe() {
  std::signal(SIGPIPE, SIG_DFL);
  std::raise(SIGPIPE);
  ::_exit(128 + SIGPIPE);
}

}  // namespace fulmar::tools
