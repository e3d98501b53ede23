#pragma once

#include <cstddef>
#include <cstdint>

namespace fulmar {

// CRC-32C (Castagnoli; RFC 3720, section 12.1). Pieces chain: crc32c(b, nb, crc32c(a, na)) is the
// CRC of a followed by b. Uses the processor's instruction where there is one.
uint32_t crc32c(const void* data, size_t bytes, uint32_t crc = 0);

// The same by table, for processors without it.
uint32_t crc32c_portable(const void* data, size_t bytes, uint32_t crc = 0);

}  // namespace fulmar
