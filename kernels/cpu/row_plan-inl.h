// What a run of layers in rows does in which order: how each tensor's rows lie, which rows a band
// needs of it, and how many of them are kept at a time. Compiled once per instruction set, inside
// its namespace.
#if defined(FULMAR_KERNELS_CPU_ROW_PLAN_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef FULMAR_KERNELS_CPU_ROW_PLAN_INL_H
#undef FULMAR_KERNELS_CPU_ROW_PLAN_INL_H
#else
#define FULMAR_KERNELS_CPU_ROW_PLAN_INL_H
#endif

#include <algorithm>
#include <cstdint>
#include <limits>
#include <span>

#include "kernels/cpu/separable-inl.h"
#include "kernels/fused.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

// How the rows of a tensor lie in scratch memory. Of few channels they are zipped: a column is one
// vector for each channel, as if the row had fewer pixels of more channels (zipped-inl.h).
struct RowFormat {
  bool zipped;
  int64_t columns;
  Channels lie;  // of a column

  HWY_INLINE RowFormat(const Shape& shape, bool zip)
      : zipped(zip),
        columns(zip ? shape.width() / lanes() : shape.width()),
        lie(zip ? shape.channels() * lanes() : shape.channels()) {}
  // A layer of stride 2 leaves an even number of columns, and vectors for zip by fours.
  static bool narrow(const Shape& shape) {
    const int64_t columns = shape.width() / lanes();
    return shape.channels() < lanes() && shape.width() % (4 * lanes()) == 0 &&
           columns * shape.channels() % 8 == 0;
  }
  int64_t floats() const { return columns * lie.stride; }
};

struct RowTensor {
  Shape shape;
  int layer;      // that makes it; -1: it lies in memory
  const View* x;  // there, else null
  RowFormat format;
  int64_t step;       // rows that are made at a time
  bool ring = false;  // whether rows are kept for others
  int64_t slots = 0;  // how many
};

struct RowRange {
  int64_t begin, end;
};

class RowPlan {
 public:
  RowPlan(std::span<const View> x, std::span<const RowLayer> layers) : layers_(layers) {
    if (!lay_out(x, true)) lay_out(x, false);
  }

  std::span<const RowLayer> layers() const { return layers_; }
  const Scratch<RowTensor>& tensors() const { return tensors_; }
  const RowTensor& tensor(int t) const { return tensors_[static_cast<size_t>(t)]; }
  int last() const { return static_cast<int>(tensors_.size()) - 1; }
  int of_layer(size_t layer) const {
    return static_cast<int>(tensors_.size() - layers_.size() + layer);
  }

  // Whether tasks may share out the output's channels: of a layer alone whose product makes pixels
  // where they belong.
  bool shares_channels() const {
    const RowLayer& layer = layers_.back();
    const bool product =
        layer.kind == RowLayer::Kind::separable || layer.kind == RowLayer::Kind::pool_skip;
    if (layers_.size() > 1 || !product || tensor(layer.x).format.zipped ||
        (layer.skip >= 0 && tensor(layer.skip).format.zipped))
      return false;
    return made(layer).lie.dense();
  }

  // How a layer makes its rows, before they are brought into the tensor's own format. A pool makes
  // half as many columns of zipped rows.
  RowFormat made(const RowLayer& layer) const {
    const bool zipped = layer.kind != RowLayer::Kind::conv && tensor(layer.x).format.zipped;
    return RowFormat(
        layer.y, zipped && (layer.kind == RowLayer::Kind::pool_skip || RowFormat::narrow(layer.y)));
  }

  // body(tensor, first row, last row) for what a layer reads for rows [begin, end) of its output;
  // rows may lie outside of the tensor. A conv takes its rows itself.
  template <class Body>
  HWY_INLINE void for_reads(const RowLayer& layer, int64_t begin, int64_t end,
                            const Body& body) const {
    if (layer.kind == RowLayer::Kind::separable) body(layer.x, begin - 1, end + 1);
    if (layer.kind != RowLayer::Kind::pool_skip) return;
    const int64_t before = tensor(layer.x).shape.height() % 2;
    body(layer.x, 2 * begin - before, 2 * (end - 1) - before + 3);
    body(layer.skip, 2 * begin, 2 * (end - 1) + 1);
  }

  // The rows of every tensor that a band of the last one needs.
  Scratch<RowRange> rows_of(RowRange band) const {
    Scratch<RowRange> rows(tensors_.size(), {std::numeric_limits<int64_t>::max(), 0});
    rows.back() = band;
    for (auto l = static_cast<int>(layers_.size()) - 1; l >= 0; l--) {
      const RowRange& of = rows[static_cast<size_t>(of_layer(static_cast<size_t>(l)))];
      for_reads(layers_[l], of.begin, of.end, [&](int t, int64_t begin, int64_t end) {
        RowRange& r = rows[static_cast<size_t>(t)];
        r.begin = std::min(r.begin, std::max<int64_t>(begin, 0));
        r.end = std::max(r.end, std::min(end, tensor(t).shape.height()));
      });
    }
    return rows;
  }

  // Finds how many rows of each tensor must be kept, by going through bands [first, last) without
  // making them, each behind the one before.
  void find_slots(int64_t band_rows, int64_t first, int64_t last);

 private:
  bool lay_out(std::span<const View> x, bool zip) {
    tensors_.clear();
    const auto add = [&](const Shape& shape, int layer, const View* in, bool zipped) {
      tensors_.push_back({shape, layer, in, RowFormat(shape, zipped), 1});
    };
    for (const View& v : x) add(v.shape, -1, &v, zip && RowFormat::narrow(v.shape));
    for (size_t l = 0; l < layers_.size(); l++) {
      const RowLayer& layer = layers_[l];
      const bool conv = layer.kind == RowLayer::Kind::conv;
      const bool of_zipped = conv || tensor(layer.x).format.zipped;
      // A sum of a zipped row and a plain one is made in plain rows.
      if (layer.kind == RowLayer::Kind::pool_skip && tensor(layer.x).format.zipped &&
          !tensor(layer.skip).format.zipped)
        return false;
      add(layer.y, static_cast<int>(l), nullptr, zip && of_zipped && RowFormat::narrow(layer.y));
      for_reads(layer, 0, 1, [&](int t, int64_t, int64_t) { tensors_[t].ring = true; });
      if (!conv && layer.kind != RowLayer::Kind::warp) tensors_.back().step = step_of(layer);
    }
    return true;
  }
  // Few pixels are made together, so that weights are read less often.
  int64_t step_of(const RowLayer& layer) const {
    constexpr int64_t least_pixels = 64, most = 32;
    const int64_t width = std::max<int64_t>(1, layer.y.width());
    const int64_t rows = std::clamp<int64_t>((least_pixels + width - 1) / width, 1, most);
    return layer.kind == RowLayer::Kind::separable ? rounded_up(rows, 2) : rows;
  }

  std::span<const RowLayer> layers_;
  Scratch<RowTensor> tensors_;
};

// Makes rows in the order in which they are wanted: make(tensor, first, rows).
template <class Make>
class RowSchedule {
 public:
  RowSchedule(const RowPlan& plan, RowRange band, const Make& make)
      : plan_(plan), rows_(plan.rows_of(band)), make_(make) {
    for (const RowRange& r : rows_) made_.push_back(r.begin);
  }

  // Makes rows of a tensor before `end`, and first what they need.
  void need(int t, int64_t end) {
    const RowTensor& tensor = plan_.tensor(t);
    int64_t& made = made_[static_cast<size_t>(t)];
    const int64_t last = rows_[static_cast<size_t>(t)].end;
    end = std::min(end, last);
    while (made < end) {
      const int64_t count = std::min(tensor.step, last - made);
      if (tensor.layer >= 0)
        plan_.for_reads(plan_.layers()[static_cast<size_t>(tensor.layer)], made, made + count,
                        [&](int from, int64_t, int64_t rows) { need(from, rows); });
      make_(t, made, count);
      made += count;
    }
  }
  void run() { need(plan_.last(), rows_.back().end); }
  // Goes on to the band that follows: rows at its edge are there.
  void run_next(RowRange band) {
    const Scratch<RowRange> more = plan_.rows_of(band);
    for (size_t t = 0; t < more.size(); t++) rows_[t].end = std::max(rows_[t].end, more[t].end);
    run();
  }
  int64_t made(int t) const { return made_[static_cast<size_t>(t)]; }
  RowRange rows(int t) const { return rows_[static_cast<size_t>(t)]; }

 private:
  const RowPlan& plan_;
  Scratch<RowRange> rows_;
  Scratch<int64_t> made_;
  const Make& make_;
};

inline void RowPlan::find_slots(int64_t band_rows, int64_t first, int64_t last) {
  if (first >= last) return;
  const int64_t height = tensors_.back().shape.height();
  struct Look {
    RowPlan& plan;
    RowSchedule<Look>* schedule = nullptr;
    void operator()(int t, int64_t row, int64_t rows) const {
      RowTensor& tensor = plan.tensors_[static_cast<size_t>(t)];
      tensor.slots = std::max(tensor.slots, rows);
      if (tensor.layer < 0) return;
      plan.for_reads(plan.layers_[static_cast<size_t>(tensor.layer)], row, row + rows,
                     [&](int from, int64_t begin, int64_t) {
                       int64_t& slots = plan.tensors_[static_cast<size_t>(from)].slots;
                       const int64_t low = std::max(begin, schedule->rows(from).begin);
                       slots = std::max(slots, schedule->made(from) - low);
                     });
    }
  };
  const auto rows_of_band = [&](int64_t band) {
    return RowRange{band * band_rows, std::min(height, (band + 1) * band_rows)};
  };
  Look look{*this};
  RowSchedule<Look> schedule(*this, rows_of_band(first), look);
  look.schedule = &schedule;
  schedule.run();
  for (int64_t band = first + 1; band < last; band++) schedule.run_next(rows_of_band(band));
}

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#endif
