#include "data/png_filters.h"

#include <cstdlib>
#include <cstring>
#include <vector>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "data/png_filters.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::data {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// `to` lies before `from` and may cover its bytes: each step reads what it needs, then writes.
void undo_up(uint8_t* to, const uint8_t* from, const uint8_t* above, int64_t bytes) {
  const hn::ScalableTag<uint8_t> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t at = 0;
  for (; at + lanes <= bytes; at += lanes)
    hn::StoreU(hn::Add(hn::LoadU(d, from + at), hn::LoadU(d, above + at)), d, to + at);
  for (; at < bytes; at++) to[at] = static_cast<uint8_t>(from[at] + above[at]);
}

// Byte by byte: grey pixels fill too little of a vector.
template <int64_t pixel>
void undo_bytes(int filter, uint8_t* to, const uint8_t* from, const uint8_t* above, int64_t bytes) {
  int a[pixel] = {}, c[pixel] = {};  // left, above left
  for (int64_t at = 0; at < bytes; at += pixel)
    for (int64_t i = 0; i < pixel; i++) {
      const int b = above[at + i];
      int guess = a[i];
      if (filter == 3) guess = (a[i] + b) / 2;
      if (filter == 4) {
        const int pa = std::abs(b - c[i]), pb = std::abs(a[i] - c[i]);
        const int pc = std::abs(a[i] + b - 2 * c[i]);
        guess = pa <= pb && pa <= pc ? a[i] : pb <= pc ? b : c[i];
      }
      a[i] = (from[at + i] + guess) & 255;
      c[i] = b;
      to[at + i] = static_cast<uint8_t>(a[i]);
    }
}

#if HWY_TARGET != HWY_SCALAR
// Pixels of 3 to 8 bytes in a vector of 8. Each depends on its left neighbour, so time is the
// number of instructions between two of them.
template <int64_t pixel>
struct Wide {
  using D = hn::Full64<uint8_t>;
  using V = hn::Vec<D>;

  static HWY_INLINE V load(const uint8_t* from) { return hn::LoadU(D(), from); }
  // What is written behind a pixel of 3 bytes is the next one's place, whose value was read: `to`
  // lies before `from`.
  static HWY_INLINE void store(V pixel_value, uint8_t* to) {
    const uint64_t bits = hn::GetLane(hn::BitCast(hn::Full64<uint64_t>(), pixel_value));
    std::memcpy(to, &bits, pixel == 3 ? 4 : pixel);
  }

  static void undo_sub(uint8_t* to, const uint8_t* from, int64_t bytes) {
    V a = hn::Zero(D());
    for (int64_t at = 0; at < bytes; at += pixel) {
      a = hn::Add(a, load(from + at));
      store(a, to + at);
    }
  }

  // Vectors round averages up, PNG rounds down. Complements turn one into the other: with not_a =
  // 255 - a, x + (a + b) / 2 is 255 - (average(not_a, not_b) - x), two instructions a pixel.
  static void undo_average(uint8_t* to, const uint8_t* from, const uint8_t* above, int64_t bytes) {
    V not_a = hn::Not(hn::Zero(D()));
    for (int64_t at = 0; at < bytes; at += pixel) {
      not_a = hn::Sub(hn::AverageRound(not_a, hn::Not(load(above + at))), load(from + at));
      store(hn::Not(not_a), to + at);
    }
  }

  // The neighbour nearest to a + b - c by two comparisons, as stb_image finds it.
  static void undo_paeth(uint8_t* to, const uint8_t* from, const uint8_t* above, int64_t bytes) {
    const hn::Full128<int16_t> d16;
    const hn::Repartition<uint8_t, decltype(d16)> d8;
    auto a = hn::Zero(d16), c = hn::Zero(d16);
    for (int64_t at = 0; at < bytes; at += pixel) {
      const auto b = hn::PromoteTo(d16, load(above + at));
      const auto x = hn::PromoteTo(d16, load(from + at));
      const auto threshold = hn::Sub(hn::Sub(hn::Add(c, hn::Add(c, c)), b), a);
      const auto low = hn::Min(a, b), high = hn::Max(a, b);
      const auto inner = hn::IfThenElse(hn::Gt(high, threshold), c, low);
      const auto guess = hn::IfThenElse(hn::Gt(threshold, low), inner, high);
      // Bytes wrap round, and the upper ones stay 0.
      a = hn::BitCast(d16, hn::Add(hn::BitCast(d8, guess), hn::BitCast(d8, x)));
      c = b;
      store(hn::DemoteTo(D(), a), to + at);
    }
  }

  static void undo(int filter, uint8_t* to, const uint8_t* from, const uint8_t* above,
                   int64_t bytes) {
    if (filter == 1) undo_sub(to, from, bytes);
    if (filter == 3) undo_average(to, from, above, bytes);
    if (filter == 4) undo_paeth(to, from, above, bytes);
  }
};
#endif

template <int64_t pixel>
void undo_pixels(int filter, uint8_t* to, const uint8_t* from, const uint8_t* above,
                 int64_t bytes) {
#if HWY_TARGET != HWY_SCALAR
  if constexpr (pixel >= 3) return Wide<pixel>::undo(filter, to, from, above, bytes);
#endif
  undo_bytes<pixel>(filter, to, from, above, bytes);
}

void undo_row(int filter, uint8_t* to, const uint8_t* from, const uint8_t* above, int64_t bytes,
              int64_t pixel_bytes) {
  if (filter == 2) return undo_up(to, from, above, bytes);
  const auto undo = pixel_bytes == 1   ? undo_pixels<1>
                    : pixel_bytes == 2 ? undo_pixels<2>
                    : pixel_bytes == 3 ? undo_pixels<3>
                    : pixel_bytes == 4 ? undo_pixels<4>
                    : pixel_bytes == 6 ? undo_pixels<6>
                                       : undo_pixels<8>;
  undo(filter, to, from, above, bytes);
}

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::data
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fulmar::data {

HWY_EXPORT(undo_row);

bool undo_png_filters(uint8_t* data, int64_t height, int64_t row_bytes, int64_t pixel_bytes) {
  const std::vector<uint8_t> zeros(static_cast<size_t>(row_bytes) + 8);
  const uint8_t* above = zeros.data();
  for (int64_t row = 0; row < height; row++) {
    const uint8_t* from = data + row * (row_bytes + 1);
    uint8_t* to = data + row * row_bytes;
    const int filter = *from++;
    if (filter > 4) return false;
    if (filter == 0)
      std::memmove(to, from, static_cast<size_t>(row_bytes));
    else
      HWY_DYNAMIC_DISPATCH(undo_row)(filter, to, from, above, row_bytes, pixel_bytes);
    above = to;
  }
  return true;
}

}  // namespace fulmar::data
#endif
