#include "data/jpeg_structure.h"

#include <algorithm>
#include <cstring>

namespace fulmar::data {

namespace {

constexpr uint8_t start_of_frame = 0xc0, progressive_frame = 0xc2, huffman_tables = 0xc4,
                  jpg = 0xc8, arithmetic = 0xcc, last_frame = 0xcf, end_of_image = 0xd9,
                  start_of_scan = 0xda, number_of_lines = 0xdc, restart_interval = 0xdd,
                  temporary = 0x01;

bool is_frame(uint8_t marker) {
  return marker >= start_of_frame && marker <= last_frame && marker != huffman_tables &&
         marker != jpg && marker != arithmetic;
}
bool is_restart(uint8_t marker) { return marker >= 0xd0 && marker <= 0xd7; }

}  // namespace

bool JpegStructure::read_header(bool whole, ImageHeader& header) {
  try {
    while (!components_) {
      const uint8_t marker = next_marker();
      if (marker == end_of_image || marker == start_of_scan)
        damaged(name_, "JPEG: it has no frame header");
      if (marker == temporary || is_restart(marker)) continue;
      const Bytes body = next_segment();
      if (is_frame(marker)) read_frame(marker, body);
    }
  } catch (const EndsEarly&) {
    if (whole) ends_early();
    return false;
  }
  header = {height_, width_, components_ == 1 ? 1 : 3, DType::u8};
  return true;
}

void JpegStructure::check() {
  try {
    for (;;) {
      const uint8_t marker = next_marker();
      if (marker == end_of_image) break;
      if (marker == temporary || is_restart(marker)) continue;
      const Bytes body = next_segment();
      if (is_frame(marker)) read_frame(marker, body);
      if (marker == restart_interval && body.size() == 2)
        restart_interval_ = big_endian(body, 0, 2);
      if (marker == number_of_lines) unsupported(name_, "JPEG whose height follows its data");
      if (marker == start_of_scan) skip_scan(body);
    }
  } catch (const EndsEarly&) {
    ends_early();
  }
  if (!scans_) damaged(name_, "JPEG: it holds no picture data");
}

void JpegStructure::ends_early() {
  damaged(name_,
          "JPEG: the data stop at byte " + std::to_string(file_.size()) + ", before the end mark");
}

uint8_t JpegStructure::next_marker() {
  if (at_ >= file_.size()) throw EndsEarly();
  if (file_[at_] != 0xff)
    damaged(name_, "JPEG: no mark at byte " + std::to_string(at_) + ", where one must be");
  while (at_ < file_.size() && file_[at_] == 0xff) at_++;
  if (at_ >= file_.size()) throw EndsEarly();
  return file_[at_++];
}

Bytes JpegStructure::next_segment() {
  if (at_ + 2 > file_.size()) throw EndsEarly();
  const size_t length = big_endian(file_, at_, 2);
  if (length < 2) damaged(name_, "JPEG: a segment of no length at byte " + std::to_string(at_));
  if (at_ + length > file_.size()) throw EndsEarly();
  at_ += length;
  return file_.subspan(at_ - length + 2, length - 2);
}

void JpegStructure::read_frame(uint8_t marker, Bytes body) {
  if (components_) damaged(name_, "JPEG: it has two frame headers");
  if (marker > progressive_frame)
    unsupported(name_, "JPEG with lossless, hierarchical or arithmetic coding");
  if (body.size() < 6 || body.size() != 6 + size_t{3} * body[5])
    damaged(name_, "JPEG: its frame header has a wrong length");
  if (body[0] != 8) unsupported(name_, std::to_string(body[0]) + "-bit JPEG");
  height_ = big_endian(body, 1, 2);
  width_ = big_endian(body, 3, 2);
  components_ = body[5];
  if (components_ == 4) unsupported(name_, "JPEG in CMYK colours");
  if (components_ != 1 && components_ != 3)
    unsupported(name_, "JPEG of " + std::to_string(components_) + " components");
  uint64_t rows = 1, columns = 1;  // blocks of a unit
  if (components_ > 1)
    for (size_t at = 7; at < body.size(); at += 3) {
      columns = std::max<uint64_t>(columns, body[at] >> 4);
      rows = std::max<uint64_t>(rows, body[at] & 15);
    }
  const auto units = [](int64_t extent, uint64_t blocks) {
    return (static_cast<uint64_t>(extent) + 8 * blocks - 1) / (8 * blocks);
  };
  units_ = units(height_, rows) * units(width_, columns);
  sequential_ = marker != progressive_frame;
}

// Entropy-coded data: up to the next mark that is neither a stuffed byte nor a restart.
void JpegStructure::skip_scan(Bytes scan_header) {
  if (!components_) damaged(name_, "JPEG: picture data before the frame header");
  const size_t begin = at_;
  uint64_t restarts = 0;
  for (;;) {
    const void* mark =
        at_ < file_.size() ? std::memchr(file_.data() + at_, 0xff, file_.size() - at_) : nullptr;
    if (!mark) throw EndsEarly();
    at_ = static_cast<size_t>(static_cast<const uint8_t*>(mark) - file_.data());
    if (at_ + 1 >= file_.size()) throw EndsEarly();
    const uint8_t next = file_[at_ + 1];
    if (is_restart(next))
      restarts++;
    else if (next != 0 && next != 0xff)
      break;
    at_ += next == 0xff ? 1 : 2;  // 0xff 0xff: the first is a fill byte
  }
  // Each pass over a progressive picture takes time, however little there is to it.
  constexpr uint64_t most_scans = 500;
  if (++scans_ > most_scans) damaged(name_, "JPEG: it has more than 500 scans");
  // How much data a scan must have is known where it is sequential and has all components.
  if (!sequential_ || scan_header.empty() || scan_header[0] != components_) return;
  const uint64_t intervals =
      restart_interval_ ? (units_ + restart_interval_ - 1) / restart_interval_ : 1;
  // A block takes at least two bits.
  if (restarts + 1 < intervals || (at_ - begin) * 4 < units_)
    damaged(name_, "JPEG: picture data are missing");
}

}  // namespace fulmar::data
