#include "data/jpeg_structure.h"
#include "data/stb.h"

namespace fulmar::data {

namespace {

bool matches(Bytes start) {
  return start.size() >= 3 && start[0] == 0xff && start[1] == 0xd8 && start[2] == 0xff;
}

bool probe(Bytes start, bool whole, const std::string& name, ImageHeader& header) {
  return JpegStructure(start, name).read_header(whole, header);
}

Image decode(Bytes file, const std::string& name, const ImageHeader& header) {
  JpegStructure(file, name).check();
  return stb_decode(file, name, "JPEG", header);
}

}  // namespace

extern const ImageFormat jpeg_format{"JPEG", ".jpg .jpeg .jpe", matches, probe, decode};

}  // namespace fulmar::data
