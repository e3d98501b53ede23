#include "data/picture_errors.h"

#include <mutex>

#include "kernels/error.h"

namespace fulmar::data {

PictureErrors for_each_picture(ThreadPool& pool, int64_t count,
                               const std::function<void(int64_t)>& body, const Progress& progress) {
  PictureErrors errors;
  std::mutex mutex;
  int64_t done = 0;
  pool.run(count, [&](int64_t picture, int) {
    std::string reason;
    try {
      body(picture);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::file) throw;
      reason = error.what();
    }
    const std::lock_guard lock(mutex);
    if (!reason.empty()) errors[picture] = reason;
    if (progress) progress(++done, count);
  });
  return errors;
}

void throw_first(const PictureErrors& errors) {
  if (errors.empty()) return;
  std::string message = errors.begin()->second;
  if (errors.size() > 1)
    message += " (and " + std::to_string(errors.size() - 1) +
               " more of the pictures can't be used: 'fulmar check' lists them)";
  file_error(message);
}

}  // namespace fulmar::data
