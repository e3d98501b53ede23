// A library to be preloaded: writing to a file below the folder $FULMAR_FULL_DISK fails as on a
// full disk.
#include <dlfcn.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>

extern "C" __attribute__((visibility("default"))) ssize_t write(int file, const void* data,
                                                                size_t bytes) {
  using Write = ssize_t (*)(int, const void*, size_t);
  static const auto next = reinterpret_cast<Write>(::dlsym(RTLD_NEXT, "write"));
  const char* full = std::getenv("FULMAR_FULL_DISK");
  char path[4096];
  const std::string link = "/proc/self/fd/" + std::to_string(file);
  const ssize_t length = ::readlink(link.c_str(), path, sizeof(path));
  if (full && length > 0 && static_cast<size_t>(length) > std::strlen(full) &&
      std::strncmp(path, full, std::strlen(full)) == 0) {
    errno = ENOSPC;
    return -1;
  }
  return next(file, data, bytes);
}
