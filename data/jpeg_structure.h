#pragma once

#include <string>

#include "data/image_format.h"

namespace fulmar::data {

// Walks the segments of a JPEG file (ITU-T T.81, annex B) without decoding. JPEG has no checksums,
// and decoders fill what is missing up with grey: so a file must have one frame of a kind that is
// read, whole segments, the restart marks that its size asks for, and the end mark.
class JpegStructure {
 public:
  JpegStructure(Bytes file, const std::string& name) : file_(file), name_(name) {}

  // Up to the frame header; false where `file` is only a start that doesn't reach it.
  bool read_header(bool whole, ImageHeader& header);
  // The whole file.
  void check();

 private:
  struct EndsEarly {};

  uint8_t next_marker();
  Bytes next_segment();
  void read_frame(uint8_t marker, Bytes body);
  void skip_scan(Bytes scan_header);
  [[noreturn]] void ends_early();

  Bytes file_;
  const std::string& name_;
  size_t at_ = 2;  // behind the start mark
  int64_t height_ = 0, width_ = 0;
  size_t components_ = 0;
  uint64_t units_ = 0;  // minimum coded units of a scan with all components
  uint64_t restart_interval_ = 0, scans_ = 0;
  bool sequential_ = false;
};

}  // namespace fulmar::data
