#pragma once

#include <cstddef>

namespace fulmar::bench {

// Bytes of this process in memory: now, and at the most since forget_peak(). 0 where the system
// doesn't tell.
size_t resident_bytes();
size_t peak_resident_bytes();
// From now on peak_resident_bytes() is of later times only. Where the system can't forget, the peak
// stays that of the whole process.
void forget_peak();

}  // namespace fulmar::bench
