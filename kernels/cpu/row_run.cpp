#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>
#include <set>
#include <utility>

#include "kernels/cpu/element_type.h"
#include "kernels/cpu/near_tasks.h"
#include "kernels/cpu/ops.h"
#include "kernels/cpu/scratch.h"
#include "kernels/warp.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/row_run.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// Must come after foreach_target.h.
#include "kernels/cpu/byte_rows-inl.h"
#include "kernels/cpu/row_layers-inl.h"
#include "kernels/cpu/zipped_picture-inl.h"

// A run of layers in bands of rows (fused-layer execution: Alwani et al. 2016). A band's threads
// make each row of each layer when the next layer wants it, and keep a few; what lies at a band's
// edges is made twice. So inner values stay in a core's own caches, and no thread waits within a
// run. Deep layers, of few pixels, come alone: then tasks share out the output's channels too.

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

using Kind = RowLayer::Kind;

// A layer with what all its tasks read.
struct PreparedLayer {
  const RowLayer* of;
  std::optional<RowWeight> weight{};
  const float* taps = nullptr;       // of the depthwise part, by the lanes of a column
  Scratch<float> tap_table{};        // where they are not the kernel as it stands
  std::optional<ZippedConv> conv{};  // of the conv
};

// Which part of a run a task makes.
struct RowTask {
  int64_t image, begin, end;
  int64_t first_channel, last_channel;  // of the output
};

// Tasks are cut by threads, yet results don't depend on these: each element's sum has one order,
// whichever task makes it.
struct RowTasks {
  int64_t images, height, band_rows, bands, parts, channels;

  RowTasks(const RowPlan& plan, int64_t threads) {
    const RowTensor& y = plan.tensor(plan.last());
    images = y.shape.images();
    height = y.shape.height();
    channels = y.shape.channels();
    const bool alone = plan.layers().size() == 1;
    // What a band makes of its edges twice should be little; a layer alone makes nothing twice.
    const int64_t least = alone ? y.step : 16, good = alone ? y.step : 32;
    const auto at_most = [&](int64_t wanted, int64_t rows) {
      return std::clamp<int64_t>((wanted + images - 1) / images, 1,
                                 std::max<int64_t>(1, height / rows));
    };
    // More bands than threads: one that is held up leaves work to the others.
    bands = std::max(at_most(threads, least), at_most(2 * threads, good));
    band_rows = rounded_up((height + bands - 1) / bands, std::max<int64_t>(y.step, 1));
    bands = (height + band_rows - 1) / band_rows;
    // Weights of many channels are read once by all tasks together.
    constexpr int64_t least_channels = 2 * max_lanes;
    const int64_t idle = threads / std::max<int64_t>(1, images * bands);
    const int64_t most = std::max<int64_t>(1, channels / least_channels);
    parts = plan.shares_channels() ? std::clamp<int64_t>(idle, 1, most) : 1;
  }
  int64_t count() const { return images * bands * parts; }
  // Whether the task behind makes the rows behind.
  bool goes_on(int64_t number) const { return parts == 1 && (number + 1) % bands != 0; }
  // Of every band alone, and of each chain of bands that a worker makes one behind the other.
  void find_slots(RowPlan& plan, int64_t threads) const {
    for (int64_t band = 0; band < bands; band++) plan.find_slots(band_rows, band, band + 1);
    std::set<std::pair<int64_t, int64_t>> seen;
    for (int64_t w = 0; w < threads && parts == 1; w++) {
      const NearTasks::Span share = NearTasks::share(count(), threads, w);
      for (int64_t task = share.begin; task < share.end;) {
        const int64_t band = task % bands, more = std::min(bands - band, share.end - task);
        if (more > 1 && seen.emplace(band, more).second)
          plan.find_slots(band_rows, band, band + more);
        task += more;
      }
    }
  }
  RowTask at(int64_t number) const {
    const int64_t band = number / parts, part = number % parts;
    const int64_t begin = band % bands * band_rows;
    const int64_t each = rounded_up((channels + parts - 1) / parts, 2 * max_lanes);
    return {band / bands, begin, std::min(height, begin + band_rows),
            std::min(channels, part * each), std::min(channels, (part + 1) * each)};
  }
};

// Floats of a worker's memory.
struct RowScratch {
  int64_t rings = 0, zeros = 0, segment = 0, row = 0, convs = 0, picture = 0, weight = 0, pairs = 0;
  int64_t pointers = 0;

  RowScratch(const RowPlan& plan, std::span<const PreparedLayer> layers) {
    for (const RowTensor& t : plan.tensors()) {
      const int64_t stride = Ring::stride_of(t.format.columns, t.format.lie);
      if (t.ring) rings += t.slots * stride;
      if (t.layer < 0) row = std::max(row, rounded_up(t.format.floats(), max_lanes));
      zeros = std::max(zeros, stride);
    }
    for (const PreparedLayer& p : layers) {
      const RowLayer& layer = *p.of;
      if (layer.kind == Kind::warp)
        picture = std::max(picture, ZippedPictures::row_floats(layer.y));
      if (p.conv) {
        convs = p.conv->ring_floats();
        weight = rounded_up(layer.w.shape.elements(), max_lanes);
        picture = std::max(picture, rounded_up(p.conv->width * p.conv->inputs, max_lanes));
        row = std::max(row, p.conv->y_row());
        pointers = std::max(pointers, p.conv->depth());
      }
      if (p.weight) pointers = std::max(pointers, p.weight->inputs);
      const RowTensor& y = plan.tensor(plan.of_layer(static_cast<size_t>(&p - layers.data())));
      const RowFormat made = plan.made(layer);
      row = std::max({row, y.step * rounded_up(made.floats(), max_lanes) + max_lanes,
                      rounded_up(y.format.floats(), max_lanes) + max_lanes});
      if (p.weight)
        pairs = std::max(pairs, p.weight->pairs_floats(y.step * most_columns(plan, layer, y.step)));
      if (layer.kind == Kind::separable)
        segment = std::max(segment, y.step * segment_floats(plan.tensor(layer.x).format, y.step));
      if (layer.kind == Kind::pool_skip)
        segment = std::max(segment,
                           y.step * rounded_up(layer.y.width() * layer.w.shape.width(), max_lanes));
    }
  }
  // Most pixels of a row that are multiplied together.
  static int64_t most_columns(const RowPlan& plan, const RowLayer& layer, int64_t step) {
    return layer.kind == Kind::separable ? segment_columns(plan.tensor(layer.x).format, step)
                                         : layer.y.width();
  }
  // Columns whose depthwise output stays in L1.
  static int64_t segment_columns(const RowFormat& x, int64_t step) {
    constexpr int64_t l1_floats = 8192, least_pixels = 64;
    const int64_t least = x.zipped ? 2 : least_pixels / step, unit = x.zipped ? 2 : 16;
    const int64_t columns = std::max(l1_floats / x.lie.stride / step, least);
    return std::min(x.columns, rounded_up(columns, unit));
  }
  static int64_t segment_floats(const RowFormat& x, int64_t step) {
    return rounded_up(segment_columns(x, step) * x.lie.stride, lanes());
  }
  int64_t pointer_floats() const {
    constexpr int64_t size = sizeof(const float*) / sizeof(uint32_t);
    return rounded_up(size * pointers, max_lanes);
  }
  size_t bytes() const {
    return static_cast<size_t>(pointer_floats() + rings + zeros + segment + 2 * row + convs +
                               picture + weight + pairs) *
           sizeof(float);
  }
};

struct RowCall {
  const RowPlan& plan;
  std::span<const PreparedLayer> layers;
  std::span<const View> x;
  const View& y;
  const std::optional<ZippedPictures>& pictures;  // of the warp
};

class RowBand {
 public:
  RowBand(const RowCall& call, const RowTask& task, float* memory)
      : call_(call), plan_(call.plan), task_(task) {
    const RowScratch sizes(plan_, call.layers);
    taps_ = reinterpret_cast<const float**>(memory);
    memory += sizes.pointer_floats();
    const auto take = [&](int64_t floats) {
      float* const taken = memory;
      memory += floats;
      return taken;
    };
    const auto zero = [](float* at, int64_t floats) {
      std::memset(at, 0, static_cast<size_t>(floats) * sizeof(float));
    };
    float* const zeros = take(sizes.zeros);
    zero(zeros, sizes.zeros);
    for (const RowTensor& t : plan_.tensors()) {
      const Channels& lie = t.format.lie;
      const int64_t slots = t.ring ? t.slots : 1;
      const Ring ring(t.ring ? memory : zeros, slots, t.format.columns, lie);
      if (t.ring) {
        float* const at = take(slots * ring.stride);
        if (lie.dense())
          ring.clear_edges(t.format.floats());
        else
          zero(at, slots * ring.stride);
      }
      rings_.push_back({ring, t.shape.height(), zeros + ring.room});
    }
    segment_ = take(sizes.segment);
    row_ = take(sizes.row);
    other_row_ = take(sizes.row);
    conv_ = take(sizes.convs);
    picture_ = take(sizes.picture);
    weight_ = take(sizes.weight);
    pairs_ = take(sizes.pairs);
    for (const PreparedLayer& p : call.layers)
      if (p.conv) prepare(p);
  }

  // next(): the task behind the one before, while there is one; of its rows, which it has in part,
  // none is made twice.
  template <class Next>
  void run(const Next& next) {
    const auto make = [&](int t, int64_t first, int64_t rows) { make_rows(t, first, rows); };
    RowSchedule<decltype(make)> schedule(plan_, {task_.begin, task_.end}, make);
    schedule.run();
    while (const auto task = next()) schedule.run_next({task->begin, task->end});
  }

 private:
  void prepare(const PreparedLayer& conv) {
    const RowTensor& x = plan_.tensor(conv.of->x);
    const bool floats = x.x && x.x->type == DType::f32;
    zipped_ = ZippedRows(*conv.conv, floats ? x.x->as<float>() : nullptr, conv_);
#if HWY_TARGET == HWY_AVX3
    if (x.layer < 0) return;
    const RowLayer& warp = *call_.layers[static_cast<size_t>(x.layer)].of;
    if (call_.y.type == DType::bf16) prepare(conv, warp, byte_pairs_);
    if (!byte_pairs_) prepare(conv, warp, bytes_);
#endif
  }
#if HWY_TARGET == HWY_AVX3
  template <class T>
  void prepare(const PreparedLayer& conv, const RowLayer& warp, std::optional<ByteRows<T>>& rows) {
    rows = ByteRows<T>::of(call_.x[static_cast<size_t>(warp.x)], warp, task_.image, *conv.conv,
                           conv_, weight_);
    if (rows) ByteRows<T>::scale_weight(conv.of->w, warp, task_.image, weight_);
  }
#endif

  const RowRing& ring(int t) const { return rings_[static_cast<size_t>(t)]; }

  void make_rows(int t, int64_t first, int64_t rows) {
    const RowTensor& tensor = plan_.tensor(t);
    if (tensor.layer < 0) return load(t, first);
    const PreparedLayer& p = call_.layers[static_cast<size_t>(tensor.layer)];
    switch (p.of->kind) {
      case Kind::warp:
        return;  // conv asks for its rows
      case Kind::conv:
        return convolve(t, p, first);
      case Kind::separable:
        return separable(t, p, first, rows);
      case Kind::pool_skip:
        return pool(t, p, first, rows);
    }
  }

  // A row of a tensor in memory.
  void load(int t, int64_t r) {
    const RowTensor& tensor = plan_.tensor(t);
    const RowFormat& format = tensor.format;
    const int64_t width = tensor.shape.width(), elements = width * tensor.shape.channels();
    float* const to = ring(t).at(r);
    for_type_of(*tensor.x, [&](auto type) HWY_ATTR {
      const auto* const from = row_of<typename decltype(type)::type>(tensor, r);
      constexpr int64_t rows_ahead = 2, line = 64 / sizeof(*from);
      if (r + rows_ahead < tensor.shape.height())
        for (int64_t e = 0; e < elements; e += line)
          __builtin_prefetch(from + rows_ahead * elements + e, 0, 2);
      if (!format.zipped) return load_pixels(format.lie, width, to, Plainly(), from);
      const float* const floats = as_floats(from, elements, row_);
      const int64_t count = elements / lanes();
      const float* segments[max_lanes];
      for (int64_t l = 0; l < lanes(); l++) segments[l] = floats + l * count;
      zip(segments, count, to);
      set_neighbours(format, to);
    });
  }
  template <class T>
  const T* row_of(const RowTensor& x, int64_t r) const {
    return x.x->as<T>() +
           (task_.image * x.shape.height() + r) * x.shape.width() * x.shape.channels();
  }
  // The same numbers, in `memory` where they are no floats.
  static const float* as_floats(const float* from, int64_t, float*) { return from; }
  static const float* as_floats(const bf16* from, int64_t count, float* memory) {
    load_pixels(Channels(count), 1, memory, Plainly(), from);
    return memory;
  }

  // Where a layer makes a row that then is brought to its place: there, if it lies there alike.
  float* place(int t, const RowFormat& made, int64_t r, float* otherwise) const {
    const RowTensor& tensor = plan_.tensor(t);
    if (tensor.ring) return made.zipped == tensor.format.zipped ? ring(t).at(r) : otherwise;
    const bool floats = call_.y.type == DType::f32;
    return floats && !made.zipped && made.lie.dense() ? output<float>(r) : otherwise;
  }
  template <class T>
  T* output(int64_t r) const {
    const Shape& y = plan_.tensor(plan_.last()).shape;
    return call_.y.as<T>() + (task_.image * y.height() + r) * y.width() * y.channels();
  }
  // Brings a row to its place, from where place() said; zipped rows may have more columns than y.
  void settle(int t, const RowFormat& made, int64_t r, float* from) {
    const RowTensor& tensor = plan_.tensor(t);
    const Shape& shape = tensor.shape;
    if (tensor.ring && made.zipped && tensor.format.zipped)
      return set_neighbours(tensor.format, from);
    if (from == place(t, made, r, nullptr)) return;
    if (made.zipped) {
      unzip(from, made.columns * shape.channels(), other_row_);
      return store_row(t, r, other_row_);
    }
    for_type_of(call_.y, [&](auto type) HWY_ATTR {
      auto* const to = output<typename decltype(type)::type>(r);
      if (task_.last_channel - task_.first_channel == shape.channels())
        store_pixels(made.lie, from, shape.width(), to);
      else
        store_channels(made.lie, from, shape.width(), to);
    });
  }
  // The task's channels of each pixel.
  template <class T>
  void store_channels(const Channels& lie, const float* from, int64_t pixels, T* to) const {
    const D d;
    for (int64_t p = 0; p < pixels; p++, from += lie.stride, to += lie.count)
      for (int64_t c = task_.first_channel; c < task_.last_channel; c += lanes())
        store_first(d, hn::LoadU(d, from + c), to + c, std::min(lanes(), task_.last_channel - c));
  }
  // Pixels without gaps to their place.
  void store_row(int t, int64_t r, const float* from) {
    const RowTensor& tensor = plan_.tensor(t);
    const Shape& shape = tensor.shape;
    if (tensor.ring)
      return load_pixels(tensor.format.lie, shape.width(), ring(t).at(r), Plainly(), from);
    for_type_of(call_.y, [&](auto type) HWY_ATTR {
      transform(
          Cached(), shape.width() * shape.channels(), output<typename decltype(type)::type>(r),
          [](V v) HWY_ATTR { return v; }, from);
    });
  }

  void convolve(int t, const PreparedLayer& p, int64_t r) {
    const RowLayer& layer = *p.of;
    const ZippedConv& conv = *p.conv;
    const RowTensor& x = plan_.tensor(layer.x);
    const int64_t line = task_.image * layer.y.height() + r;
    DirectRow row{taps_,
                  conv.depth(),
                  layer.w.as<float>(),
                  layer.bias ? layer.bias.as<float>() : nullptr,
                  conv.outputs,
                  conv.columns,
                  conv.column_step(),
                  conv.outputs * max_lanes,
                  nullptr,
                  {}};
    const RowTensor& to = plan_.tensor(t);
    const bool in_place = to.ring && to.format.zipped;
    row.y = in_place ? ring(t).at(r) : row_;
    const auto finished = [&](const auto& finish) HWY_ATTR {
#if HWY_TARGET == HWY_AVX3
      if (byte_pairs_) return byte_pairs_->convolve(line, row, taps_, finish);
      if (bytes_) return bytes_->convolve(line, row, taps_, finish);
#endif
      if (x.layer >= 0)
        zipped_->find_taps(line, taps_, [&](int64_t image, int64_t r_x, float* at) {
          call_.pictures->zip(*zipped_, image, r_x, columns_, picture_, at);
        });
      else if (x.x->type == DType::bf16)
        zipped_->find_taps(line, taps_, [&](int64_t, int64_t r_x, float* at) {
          const int64_t elements = conv.width * conv.inputs;
          zipped_->zip_plain(as_floats(row_of<bf16>(x, r_x), elements, picture_), at);
        });
      else
        zipped_->find_taps(line, taps_);
      direct_row(row, finish);
    };
    if (layer.relu)
      finished(RectifySum());
    else
      finished(KeepSum());
    if (in_place) return set_neighbours(to.format, row.y);
    unzip(row.y, conv.y_count, other_row_);
    store_row(t, r, other_row_);
  }

  void separable(int t, const PreparedLayer& p, int64_t first_row, int64_t rows) {
    const RowLayer& layer = *p.of;
    const RowWeight& weight = *p.weight;
    const RowTensor &x = plan_.tensor(layer.x), &y = plan_.tensor(t);
    const RowFormat &in = x.format, made = plan_.made(layer);
    const int64_t segment = RowScratch::segment_columns(in, y.step);
    const int64_t made_row = rounded_up(made.floats(), max_lanes);
    const int64_t stride = made.lie.stride;
    const auto to = [&](int64_t r) { return place(t, made, first_row + r, row_ + r * made_row); };
    for (int64_t first = 0; first < in.columns; first += segment) {
      const Segment s{first_row, rows, first, std::min(segment, in.columns - first)};
      depthwise_part(ring(layer.x), in.lie, p.taps, s, segment_);
      const int64_t in_row = s.row_floats(in.lie);
      const float* const d = segment_;
      if (!in.zipped && s.pixels == in.columns && rows > 1 && in_row == s.pixels * in.lie.stride &&
          to(1) == to(0) + s.pixels * stride) {
        weight.plain_to_plain(rows * s.pixels, {d, in.lie.stride}, layer.relu,
                              EvenRows{to(0), stride}, task_first(t), task_last(t, layer), pairs_);
        continue;
      }
      for (int64_t r = 0; r < rows; r++) {
        const float* const from = d + r * in_row;
        float* const out = to(r);
        if (!in.zipped)
          weight.plain_to_plain(s.pixels, {from, in.lie.stride}, layer.relu,
                                EvenRows{out + first * stride, stride}, task_first(t),
                                task_last(t, layer), pairs_);
        else if (made.zipped)
          weight.zipped_to_zipped(from, in.lie.stride, s.pixels, layer.relu, out + first * stride,
                                  taps_, pairs_);
        else
          weight.zipped_to_plain(from, in.lie.stride, s.pixels, layer.relu, out + first * stride,
                                 stride, in.columns, pairs_);
      }
    }
    for (int64_t r = 0; r < rows; r++) settle(t, made, first_row + r, to(r));
  }
  // Channels are shared out of the run's output alone.
  int64_t task_first(int t) const { return t == plan_.last() ? task_.first_channel : 0; }
  int64_t task_last(int t, const RowLayer& layer) const {
    return t == plan_.last() ? task_.last_channel : layer.y.channels();
  }

  void pool(int t, const PreparedLayer& p, int64_t first_row, int64_t rows) {
    const RowLayer& layer = *p.of;
    const RowWeight& weight = *p.weight;
    const RowTensor &z = plan_.tensor(layer.x), &u = plan_.tensor(layer.skip);
    const RowFormat made = plan_.made(layer);
    const int64_t stride = made.lie.stride, made_row = made.floats();
    const int64_t depth = weight.inputs, begin = task_first(t), end = task_last(t, layer);
    const int64_t before = z.shape.height() % 2, left = z.shape.width() % 2;
    float* const skip = other_row_;
    if (!u.format.zipped && rows > 1) {  // few pixels: together
      float* to = segment_;
      for (int64_t r = 0; r < rows; r++)
        for (int64_t w = 0; w < made.columns; w++, to += depth)
          std::memcpy(to, ring(layer.skip).at(2 * (first_row + r)) + 2 * w * u.format.lie.stride,
                      static_cast<size_t>(depth) * sizeof(float));
      weight.plain_to_plain(rows * made.columns, {segment_, depth}, false, EvenRows{skip, stride},
                            begin, end, pairs_);
    }
    for (int64_t r = 0; r < rows; r++) {
      const int64_t q = first_row + r;
      const float* const even = ring(layer.skip).at(2 * q);
      const int64_t step = 2 * u.format.lie.stride;
      float* const added = rows > 1 && !u.format.zipped ? skip + r * made_row : skip;
      if (!u.format.zipped && rows == 1)
        weight.plain_to_plain(made.columns, {even, step}, false, EvenRows{added, stride}, begin,
                              end, pairs_);
      else if (u.format.zipped && made.zipped)
        weight.zipped_to_zipped(even, step, made.columns, false, added, taps_, pairs_);
      else if (u.format.zipped)
        weight.zipped_to_plain(even, step, u.format.columns / 2, false, added, stride,
                               u.format.columns / 2, pairs_);
      const float* from[3];
      for (int i = 0; i < 3; i++)
        from[i] = ring(layer.x).at(2 * q - before + i) - left * z.format.lie.stride;
      float* const to = place(t, made, q, row_);
      pool_columns(from, stride, made.zipped ? 0 : begin, made.zipped ? stride : end, made.columns,
                   added, to);
      settle(t, made, q, to);
    }
  }

  const RowCall& call_;
  const RowPlan& plan_;
  RowTask task_;
  Scratch<RowRing> rings_;
  const float** taps_;
  float *segment_, *row_, *other_row_, *conv_, *picture_, *weight_, *pairs_;
  std::optional<ZippedRows> zipped_;
#if HWY_TARGET == HWY_AVX3
  std::optional<ByteRows<uint8_t>> bytes_;  // in place of them
  std::optional<ByteRows<uint32_t>> byte_pairs_;
#endif
  WarpColumns columns_;
};

int64_t weight_floats(const RowLayer& layer) {
  const bool pointwise = layer.kind == Kind::separable || layer.kind == Kind::pool_skip;
  return pointwise ? RowWeight::floats(layer.w) : 0;
}

size_t row_run_bytes(std::span<const RowLayer> layers) {
  int64_t floats = 0;
  for (const RowLayer& layer : layers) floats += weight_floats(layer);
  return static_cast<size_t>(floats) * sizeof(float);
}

// The depthwise kernel by the lanes of a column: itself, where these are the channels.
const float* taps_of(const View& depthwise, const RowFormat& format, Scratch<float>& table) {
  const int64_t inputs = depthwise.shape.channels();
  const auto* const w = depthwise.as<float>();
  if (format.lie.period == inputs) return w;
  for (int64_t tap = 0; tap < taps; tap++) {
    const auto of_tap = format.lie.table(
        [&](int64_t e) { return w[tap * inputs + (format.zipped ? e / lanes() : e)]; });
    table.insert(table.end(), of_tap.begin(), of_tap.end());
  }
  return table.data();
}

void row_run_target(Stream& stream, std::span<const View> x, std::span<const RowLayer> layers,
                    const View& y, void* work) {
  ThreadPool& pool = *stream.pool;
  RowPlan plan(x, layers);
  Scratch<PreparedLayer> prepared;
  prepared.reserve(layers.size());
  std::optional<ZippedPictures> pictures;
  auto* memory = static_cast<float*>(work);
  for (const RowLayer& layer : layers) {
    PreparedLayer p{&layer};
    if (layer.kind == Kind::separable) {
      const RowFormat& format = plan.tensor(layer.x).format;
      p.weight = RowWeight(pool, layer, format.zipped, memory);
      p.taps = taps_of(layer.depthwise, format, p.tap_table);
    }
    if (layer.kind == Kind::pool_skip)
      p.weight = RowWeight(pool, layer, plan.tensor(layer.skip).format.zipped, memory);
    if (layer.kind == Kind::conv)
      p.conv = ZippedConv(plan.tensor(layer.x).shape, layer.w,
                          view_of(nullptr, layer.y, DType::f32), layer.window);
    if (layer.kind == Kind::warp)
      pictures.emplace(x[static_cast<size_t>(layer.x)],
                       Sampled{layer.samples, layer.warp, layer.y});
    memory += weight_floats(layer);
    prepared.push_back(std::move(p));
  }
  const RowTasks tasks(plan, pool.threads());
  tasks.find_slots(plan, pool.threads());
  const RowCall call{plan, prepared, x, y, pictures};
  const size_t bytes = RowScratch(plan, prepared).bytes();
  NearTasks near(tasks.count(), pool.threads());
  pool.run(std::min<int64_t>(pool.threads(), tasks.count()), [&](int64_t, int worker) HWY_ATTR {
    auto* const scratch = static_cast<float*>(pool.scratch(worker, bytes));
    while (const auto taken = near.take(worker)) {
      int64_t number = *taken;
      const RowTask part = tasks.at(number);
      if (part.first_channel >= part.last_channel) continue;
      RowBand(call, part, scratch).run([&]() -> std::optional<RowTask> {
        const auto next = tasks.goes_on(number) ? near.take_own(worker) : std::nullopt;
        if (!next) return {};
        number = *next;
        return tasks.at(number);
      });
    }
  });
}

void pack_row_weight_target(Stream& stream, const View& w, const View& packed) {
  std::memset(packed.data, 0, packed.bytes());  // narrower vectors leave room
  if (packed.type == DType::f32)
    pack_weights(*stream.pool, w, 1, packed.as<float>());
  else if (multiplies_pairs(w.shape.width()))
    RowWeight::pack_pairs(*stream.pool, w, packed.as<uint32_t>());
}

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fulmar::cpu {

HWY_EXPORT(row_run_target);
void row_run(Stream& stream, std::span<const View> x, std::span<const RowLayer> layers,
             const View& y, void* work) {
  if (y.shape.elements() == 0) return;
  for (const RowLayer& layer : layers)
    if (layer.kind == RowLayer::Kind::warp)
      check_warp(x[static_cast<size_t>(layer.x)], layer.samples,
                 view_of(nullptr, layer.y, DType::f32));
  HWY_DYNAMIC_DISPATCH(row_run_target)(stream, x, layers, y, work);
}

HWY_EXPORT(row_run_bytes);
size_t row_run_workspace(Stream&, std::span<const View>, std::span<const RowLayer> layers,
                         const View&) {
  return HWY_DYNAMIC_DISPATCH(row_run_bytes)(layers);
}

HWY_EXPORT(pack_row_weight_target);
void pack_row_weight(Stream& stream, const View& w, const View& packed) {
  HWY_DYNAMIC_DISPATCH(pack_row_weight_target)(stream, w, packed);
}

}  // namespace fulmar::cpu
#endif
