// Operands that repeat along some axes of a result, laid out in L1 a piece at a time.
#if defined(FULMAR_KERNELS_CPU_REPEATS_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef FULMAR_KERNELS_CPU_REPEATS_INL_H
#undef FULMAR_KERNELS_CPU_REPEATS_INL_H
#else
#define FULMAR_KERNELS_CPU_REPEATS_INL_H
#endif

#include <algorithm>

#include "kernels/cpu/simd-inl.h"
#include "kernels/repeated_axes.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

// Elements of a piece: two operands and the result are 12 KiB.
constexpr int64_t piece_elements = 1024;
// Rows of the fastest axis that are as long are blocks of their own.
constexpr int64_t long_row = 512;

// The result is a run of blocks of `rows` x `columns` elements. Within a block each operand is
// contiguous, or repeats a row, or repeats each of a column's elements, or is one number.
class RepeatedBlocks {
 public:
  RepeatedBlocks(const Shape& a, const Shape& b, const Shape& y) : axes_(a, b, y) {
    columns_ = axis(RepeatedAxes::end - 1).extent;
    if (columns_ < long_row) rows_ = axis(--outer_).extent;
    for (int i = axes_.first; i < outer_; i++) count_ *= axis(i).extent;
  }

  int64_t rows() const { return rows_; }
  int64_t columns() const { return columns_; }
  int64_t elements() const { return rows_ * columns_; }
  // Every block, and every piece of one, begins at whole vectors of the result.
  bool at_whole_vectors() const { return count_ == 1 || elements() % lanes() == 0; }

  bool moves_along_rows(int operand) const {
    return axis(RepeatedAxes::end - 1).stride[operand] != 0;
  }
  bool moves_along_columns(int operand) const {
    return rows_ > 1 && axis(RepeatedAxes::end - 2).stride[operand] != 0;
  }
  // Where the operand's part of a block begins.
  int64_t begin(int64_t block, int operand) const {
    int64_t at = 0;
    for (int i = outer_ - 1; i >= axes_.first; i--) {
      at += block % axis(i).extent * axis(i).stride[operand];
      block /= axis(i).extent;
    }
    return at;
  }

 private:
  const RepeatedAxes::Axis& axis(int i) const { return axes_.axis[i]; }

  RepeatedAxes axes_;
  int outer_ = RepeatedAxes::end - 1;  // the axes before it count blocks
  int64_t rows_ = 1, columns_ = 1, count_ = 1;
};

class RepeatedOperand {
 public:
  RepeatedOperand(const RepeatedBlocks& blocks, int operand)
      : rows_(blocks.rows()),
        columns_(blocks.columns()),
        along_rows_(blocks.moves_along_rows(operand)),
        along_columns_(blocks.moves_along_columns(operand)) {}

  // Takes the operand's part of a block.
  HWY_INLINE void take(const float* x) {
    if (x == x_) return;
    x_ = x;
    const int64_t most = std::min(piece_elements, rows_ * columns_);
    if (along_columns_ || (along_rows_ && rows_ == 1)) return;
    if (!along_rows_) {
      std::fill_n(lane_, most, *x);
      return;
    }
    // A row from any of its columns on. Doubling: a copy is the source of the next, longer one.
    std::copy_n(x, columns_, lane_);
    const int64_t count = most + columns_;
    for (int64_t done = columns_; done < count; done *= 2)
      std::copy_n(lane_, std::min(done, count - done), lane_ + done);
  }

  // What lies under the `n` elements from `at` on.
  HWY_INLINE const float* piece(int64_t at, int64_t n) {
    if (along_rows_) return along_columns_ || rows_ == 1 ? x_ + at : lane_ + at % columns_;
    if (!along_columns_) return lane_;
    const int64_t first = at / columns_, last = (at + n - 1) / columns_;
    float* to = lane_;
    for (int64_t row = first; row <= last; row++, to += columns_) {
      // The next row overwrites what goes beyond this one.
      const V value = hn::Set(D(), x_[row]);
      for (int64_t c = 0; c < columns_; c += lanes()) hn::StoreU(value, D(), to + c);
    }
    return lane_ + (at - first * columns_);
  }

 private:
  int64_t rows_, columns_;
  bool along_rows_, along_columns_;
  const float* x_ = nullptr;
  // A piece with whole rows at both of its ends, and what the last of them goes beyond.
  HWY_ALIGN float lane_[piece_elements + 2 * long_row + max_lanes];
};

// body(begin, n, a, b) for pieces of the result's elements [begin, end): the operands under them.
template <class Body>
HWY_INLINE void for_pieces(const RepeatedBlocks& blocks, const float* a, const float* b,
                           int64_t begin, int64_t end, const Body& body) {
  RepeatedOperand of_a(blocks, 0), of_b(blocks, 1);
  for (int64_t i = begin; i < end;) {
    const int64_t block = i / blocks.elements(), first = block * blocks.elements();
    const int64_t block_end = std::min(end, first + blocks.elements());
    of_a.take(a + blocks.begin(block, 0));
    of_b.take(b + blocks.begin(block, 1));
    while (i < block_end) {
      const int64_t n = std::min(piece_elements, block_end - i);
      body(i, n, of_a.piece(i - first, n), of_b.piece(i - first, n));
      i += n;
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#endif
