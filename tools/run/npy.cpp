#include "tools/run/npy.h"

#include <bit>

#include "engine/io/file.h"

namespace fulmar::tools {

static_assert(std::endian::native == std::endian::little, "the header says little-endian");

std::string npy_header(const std::string& type, const std::vector<int64_t>& shape) {
  std::string extents;
  for (const int64_t extent : shape) extents += std::to_string(extent) + ",";
  std::string header =
      "{'descr': '" + type + "', 'fortran_order': False, 'shape': (" + extents + "), }";
  // Magic, version and length take 10 bytes; the numbers begin at a multiple of 64.
  constexpr size_t before = 10, alignment = 64;
  header.append(alignment - (before + header.size() + 1) % alignment, ' ');
  header += '\n';
  const std::string magic("\x93NUMPY\x01\x00", 8);
  const auto length = static_cast<uint16_t>(header.size());
  return magic + std::string(reinterpret_cast<const char*>(&length), sizeof length) + header;
}

void write_npy(const std::string& path, const std::vector<int64_t>& shape,
               std::span<const float> values) {
  const std::string header = npy_header("<f4", shape);
  AtomicFile file(path);
  file.write(header.data(), header.size());
  file.write(values.data(), values.size_bytes());
  file.commit();
}

}  // namespace fulmar::tools
