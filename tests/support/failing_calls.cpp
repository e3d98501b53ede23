// A library to be preloaded: the calls named in $FULMAR_FAILING_CALLS, such as "flock=38,fchmod=1",
// fail with that errno, as on file systems that lack them.
#include <dlfcn.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdlib>
#include <string>

namespace {

bool fails(const std::string& call) {
  const char* calls = std::getenv("FULMAR_FAILING_CALLS");
  const std::string list = std::string(",") + (calls ? calls : "");
  const size_t at = list.find("," + call + "=");
  if (at == std::string::npos) return false;
  errno = std::atoi(list.c_str() + at + call.size() + 2);
  return true;
}

}  // namespace

extern "C" {
__attribute__((visibility("default"))) int flock(int file, int operation) noexcept {
  if (fails("flock")) return -1;
  using Call = int (*)(int, int);
  static const auto next = reinterpret_cast<Call>(::dlsym(RTLD_NEXT, "flock"));
  return next(file, operation);
}
__attribute__((visibility("default"))) int fchmod(int file, mode_t mode) noexcept {
  if (fails("fchmod")) return -1;
  using Call = int (*)(int, mode_t);
  static const auto next = reinterpret_cast<Call>(::dlsym(RTLD_NEXT, "fchmod"));
  return next(file, mode);
}
}
