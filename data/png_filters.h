#pragma once

#include <cstdint>

namespace fulmar::data {

// Undoes PNG's filters (PNG specification, clause 9) in place. `data` begins as `height` rows of a
// filter's number and row_bytes; they become rows side by side, without numbers. 8 more bytes
// behind them may be read and written. pixel_bytes: 1, 2, 3, 4, 6 or 8. false, with `data` spoilt:
// a filter that isn't PNG's.
bool undo_png_filters(uint8_t* data, int64_t height, int64_t row_bytes, int64_t pixel_bytes);

}  // namespace fulmar::data
