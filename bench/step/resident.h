#pragma once

#include <cstddef>

namespace fulmar::bench {

// The most bytes of this process that were in memory since forget_peak(). 0 where the system has
// no account of it.
size_t peak_resident_bytes();
// From now on peak_resident_bytes() is of later times only; gives what is resident now. Freed
// memory goes back to the system first, since work that takes it again would seem to need none.
// Where the system can't forget, the peak stays that of the whole process.
size_t forget_peak();

}  // namespace fulmar::bench
