#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "kernels/api.h"

namespace fulmar {

// Kinds of errors. A caller acts differently on each.
enum class ErrorKind {
  usage,     // arguments or shapes that don't fit together
  file,      // a file that can't be read, understood or written
  device,    // a device that is missing or failed, or memory that ran out
  diverged,  // a value became NaN or infinite
  cancelled  // the caller asked to stop
};

// The one exception type of the engine. The message says what was wrong, where, and what to do.
class FULMAR_API Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  // The message is "WHERE: MESSAGE"; `where` names an op and its layer.
  Error(ErrorKind kind, const std::string& where, const std::string& message)
      : std::runtime_error(where + ": " + message), kind_(kind), where_bytes_(where.size()) {}
  ErrorKind kind() const { return kind_; }
  // The op and layer that the message begins with; empty where it names none.
  std::string_view where() const { return {what(), where_bytes_}; }

 private:
  ErrorKind kind_;
  size_t where_bytes_ = 0;
};

[[noreturn]] inline void usage_error(const std::string& message) {
  throw Error(ErrorKind::usage, message);
}
[[noreturn]] inline void file_error(const std::string& message) {
  throw Error(ErrorKind::file, message);
}
[[noreturn]] inline void device_error(const std::string& message) {
  throw Error(ErrorKind::device, message);
}

}  // namespace fulmar
