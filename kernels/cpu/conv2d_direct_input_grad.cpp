#include <algorithm>
#include <cstring>

#include "kernels/cpu/conv2d_direct.h"
#include "kernels/cpu/scratch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/conv2d_direct_input_grad.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// Must come after foreach_target.h.
#include "kernels/cpu/direct_row-inl.h"
#include "kernels/cpu/pack-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

// Along one axis, pixel p of dx gets something from tap t where (p + padding - t dilation) divides
// by the stride; the pixel of dy is the quotient. So the taps belong to p's phase, p % stride.
struct GradAxis {
  int64_t taps, stride, dilation, padding;

  bool meets(int64_t pixel, int64_t tap) const {
    return (pixel + padding - tap * dilation) % stride == 0;
  }
  int64_t source(int64_t pixel, int64_t tap) const {
    return floor_div(pixel + padding - tap * dilation, stride);
  }
  // Over all pixels from 0 on, `source` less the pixel's number within its phase.
  int64_t least() const { return source(0, taps - 1); }
  int64_t most() const { return source(stride - 1, 0); }
};

// How rows are zipped: a segment is `columns` pixels of each column phase of dx.
struct ZippedInputGrad {
  int64_t images, height, width, inputs;   // of dx
  int64_t out_height, out_width, outputs;  // of dy
  GradAxis down, across;
  int64_t columns;             // a multiple of 4
  int64_t left;                // pixels of dy before a segment's first
  int64_t dy_count, dx_count;  // vectors of a row, multiples of 4
  int64_t slots;               // rows of dy that a row of dx reads, or a few more

  HWY_INLINE ZippedInputGrad(const View& dy, const View& w, const View& dx, const Window& window)
      : images(dx.shape.images()),
        height(dx.shape.height()),
        width(dx.shape.width()),
        inputs(dx.shape.channels()),
        out_height(dy.shape.height()),
        out_width(dy.shape.width()),
        outputs(dy.shape.channels()),
        down{w.shape.images(), window.stride[0], window.dilation[0], window.padding[0]},
        across{w.shape.height(), window.stride[1], window.dilation[1], window.padding[2]},
        columns((of_phase() + 4 * max_lanes - 1) / (4 * max_lanes) * 4),
        left(std::max<int64_t>(0, -across.least())),
        dy_count(((left + columns + std::max<int64_t>(0, across.most())) * outputs + 3) / 4 * 4),
        dx_count(columns * across.stride * inputs),
        slots(down.most() - down.least() + 1) {}

  int64_t of_phase() const { return (width + across.stride - 1) / across.stride; }
  int64_t lines() const { return images * height; }
  int64_t dy_row() const { return dy_count * max_lanes; }  // floats
  int64_t dx_row() const { return dx_count * max_lanes; }
  int64_t ring_floats() const { return (slots + 2) * dy_row(); }

  // Few inputs fill no vector of a product. Else as ZippedConv::suits.
  bool suits(int64_t groups) const {
    constexpr int64_t most_inputs = 4, most_ring = int64_t{1} << 18, most_phases = 1 << 10;
    return groups == 1 && inputs <= most_inputs && down.taps * across.taps > 1 &&
           down.stride <= most_phases && across.stride <= most_phases / down.stride &&
           2 * of_phase() >= max_lanes * columns && ring_floats() <= most_ring;
  }

  // body(phase down, phase across, tap down, tap across) in the order of the packed weights.
  template <class Body>
  HWY_INLINE void for_taps(int64_t phase_y, int64_t phase_x, const Body& body) const {
    for (int64_t i = 0; i < down.taps; i++)
      for (int64_t j = 0; j < across.taps; j++)
        if (down.meets(phase_y, i) && across.meets(phase_x, j)) body(i, j);
  }
};

// The weights of each pair of phases, [tap][output][input].
class PhaseWeights {
 public:
  HWY_INLINE PhaseWeights(const ZippedInputGrad& conv, const View& w, float* memory)
      : phases_(static_cast<size_t>(conv.down.stride * conv.across.stride)),
        stride_(conv.across.stride) {
    for (int64_t y = 0; y < conv.down.stride; y++)
      for (int64_t x = 0; x < conv.across.stride; x++) {
        phases_[static_cast<size_t>(y * stride_ + x)] = memory;
        conv.for_taps(y, x, [&](int64_t i, int64_t j) {
          const float* const tap =
              w.as<float>() + (i * conv.across.taps + j) * conv.inputs * conv.outputs;
          for (int64_t o = 0; o < conv.outputs; o++)
            for (int64_t c = 0; c < conv.inputs; c++) *memory++ = tap[c * conv.outputs + o];
        });
      }
  }
  const float* of(int64_t phase_y, int64_t phase_x) const {
    return phases_[static_cast<size_t>(phase_y * stride_ + phase_x)];
  }

 private:
  Scratch<const float*> phases_;
  int64_t stride_;
};

// The zipped rows of dy that a row of dx reads, kept for the next.
class GradientRows {
 public:
  HWY_INLINE GradientRows(const ZippedInputGrad& conv, const View& dy, float* memory)
      : conv_(conv),
        dy_(dy.as<float>()),
        zeros_(memory),
        edge_(memory + conv.dy_row()),
        ring_(memory + 2 * conv.dy_row()) {
    std::memset(zeros_, 0, static_cast<size_t>(conv.dy_row()) * sizeof(float));
  }

  // Before rows of dx are made; lines rise, in the numbering of all images' rows.
  HWY_INLINE void load(int64_t line) {
    if (line / conv_.height != image_) have_ = 0;
    image_ = line / conv_.height;
    const int64_t y = line % conv_.height, row = conv_.out_width * conv_.outputs;
    const int64_t first = std::max(have_, conv_.down.source(y, conv_.down.taps - 1));
    const int64_t last = std::min(conv_.out_height, conv_.down.source(y, 0) + 1);
    for (int64_t at = std::max<int64_t>(0, first); at < last; at++)
      zip_row(dy_ + (image_ * conv_.out_height + at) * row, row, -conv_.left * conv_.outputs,
              conv_.columns * conv_.outputs, conv_.dy_count, edge_, slot(at));
    have_ = std::max(have_, last);
  }

  // The row that is loaded next, in so many steps.
  HWY_INLINE Fetch next(int64_t steps) const {
    if (have_ >= conv_.out_height || steps == 0) return {};
    const int64_t row = conv_.out_width * conv_.outputs;
    return {dy_ + (image_ * conv_.out_height + have_) * row, row, steps};
  }

  // taps[k]: where (tap, output) lies for the first column of a phase of row `line`; their number.
  HWY_INLINE int64_t find_taps(int64_t line, int64_t phase, const float** taps) const {
    const int64_t y = line % conv_.height;
    const float** to = taps;
    conv_.for_taps(y % conv_.down.stride, phase, [&](int64_t i, int64_t j) {
      const int64_t at = conv_.down.source(y, i);
      const float* const row = at < 0 || at >= conv_.out_height ? zeros_ : slot(at);
      const int64_t pixel = conv_.left + conv_.across.source(phase, j);
      for (int64_t o = 0; o < conv_.outputs; o++)
        *to++ = row + (pixel * conv_.outputs + o) * max_lanes;
    });
    return to - taps;
  }

 private:
  float* slot(int64_t row) const { return ring_ + row % conv_.slots * conv_.dy_row(); }

  const ZippedInputGrad& conv_;
  const float* dy_;
  float *zeros_, *edge_, *ring_;
  int64_t image_ = -1, have_ = 0;
};

bool input_grad_is_direct(const View& dy, const View& w, const View& dx, const Window& window,
                          int64_t groups) {
  return ZippedInputGrad(dy, w, dx, window).suits(groups);
}

void direct_input_grad_target(ThreadPool& pool, const View& dy, const View& w, const View& dx,
                              const Window& window, float* memory) {
  const ZippedInputGrad conv(dy, w, dx, window);
  const PhaseWeights weights(conv, w, memory);
  const int64_t lines = std::clamp<int64_t>(conv.lines() / 64, 4, 64);
  const int64_t row_floats = conv.width * conv.inputs;
  const bool past_caches = writes_past_caches(dx) && row_floats % (line_bytes / sizeof(float)) == 0;
  const int64_t terms = conv.down.taps * conv.across.taps * conv.outputs;
  const size_t bytes = static_cast<size_t>(conv.ring_floats() + 2 * conv.dx_row()) * sizeof(float) +
                       static_cast<size_t>(terms) * sizeof(float*);
  pool.run((conv.lines() + lines - 1) / lines, [&](int64_t task, int worker) HWY_ATTR {
    float* const scratch = static_cast<float*>(pool.scratch(worker, bytes));
    float* const zipped = scratch + conv.ring_floats();
    float* const plain = zipped + conv.dx_row();
    const auto taps = reinterpret_cast<const float**>(plain + conv.dx_row());
    GradientRows rows(conv, dy, scratch);
    for (int64_t line = task * lines; line < std::min(conv.lines(), (task + 1) * lines); line++) {
      rows.load(line);
      const int64_t phase_y = line % conv.height % conv.down.stride;
      bool fetched = false;
      for (int64_t phase = 0; phase < conv.across.stride; phase++) {
        const int64_t depth = rows.find_taps(line, phase, taps);
        const int64_t step = conv.across.stride * conv.inputs * max_lanes;
        direct_row({taps, depth, weights.of(phase_y, phase), nullptr, conv.inputs, conv.columns,
                    conv.outputs * max_lanes, step, zipped + phase * conv.inputs * max_lanes,
                    fetched ? Fetch() : rows.next(conv.columns / 2 * depth)});
        fetched = fetched || depth > 0;
      }
      store_zipped(zipped, conv.dx_count, row_floats, past_caches, plain,
                   dx.as<float>() + line * row_floats);
    }
    if (past_caches) hwy::FlushStream();
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fulmar::cpu {

HWY_EXPORT(input_grad_is_direct);
HWY_EXPORT(direct_input_grad_target);

bool conv2d_input_grad_is_direct(const View& dy, const View& w, const View& dx,
                                 const Window& window, int64_t groups) {
  return HWY_DYNAMIC_DISPATCH(input_grad_is_direct)(dy, w, dx, window, groups);
}

void conv2d_direct_input_grad(Stream& stream, const View& dy, const View& w, const View& dx,
                              const Window& window, void* work) {
  HWY_DYNAMIC_DISPATCH(direct_input_grad_target)
  (*stream.pool, dy, w, dx, window, static_cast<float*>(work));
}

}  // namespace fulmar::cpu
#endif
