// A library to be preloaded: writing to files whose path begins with $FULMAR_FULL_DISK (the folder
// itself is none) fails as on a full disk, once $FULMAR_FULL_DISK_ROOM bytes (0) are written.
#include <dlfcn.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

ssize_t room_at_first() {
  const char* room = std::getenv("FULMAR_FULL_DISK_ROOM");
  return room ? std::atol(room) : 0;
}

}  // namespace

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
    static std::atomic<ssize_t> room{room_at_first()};
    const ssize_t left = room;
    if (left <= 0) {
      errno = ENOSPC;
      return -1;
    }
    const ssize_t done = next(file, data, std::min(bytes, static_cast<size_t>(left)));
    if (done > 0) room -= done;
    return done;
  }
  return next(file, data, bytes);
}
