#include "data/image_file.h"

#include <algorithm>
#include <cstring>

#include "kernels/error.h"

namespace fulmar::data {

ImageFile::ImageFile(const std::string& path, uint64_t most_bytes)
    : name_(path), file_(std::in_place, path), most_bytes_(most_bytes) {}

ImageFile::ImageFile(Bytes bytes, const std::string& name) : name_(name), memory_(bytes) {}

Bytes ImageFile::start(uint64_t count) const {
  count = std::min(count, bytes());
  if (!file_) return memory_.first(static_cast<size_t>(count));
  if (start_.size() < count) {
    start_.resize(static_cast<size_t>(count));
    file_->read_at(0, start_.data(), start_.size());
  }
  return Bytes(reinterpret_cast<const uint8_t*>(start_.data()), start_.size())
      .first(static_cast<size_t>(count));
}

Bytes ImageFile::all() const {
  if (bytes() > most_bytes_)
    file_error("cannot read '" + name_ + "': it has " + std::to_string(bytes()) +
               " bytes, at most " + std::to_string(most_bytes_) +
               " are expected (check that it is the right file)");
  return start(UINT64_MAX);
}

void ImageFile::read(uint64_t at, void* to, size_t count) const {
  if (count > bytes() || at > bytes() - count)
    file_error("cannot read '" + name_ + "': it ends too early (copy it again)");
  if (count == 0) return;
  if (file_)
    file_->read_at(at, to, count);
  else
    std::memcpy(to, memory_.data() + at, count);
}

}  // namespace fulmar::data
