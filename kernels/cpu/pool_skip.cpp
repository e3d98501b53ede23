#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "kernels/cpu/element_type.h"
#include "kernels/cpu/ops.h"
#include "kernels/cpu/past_caches.h"
#include "kernels/cpu/scratch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/pool_skip.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "kernels/cpu/even_pixels-inl.h"
#include "kernels/cpu/stores-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

// Maxima are searched before normalisation: bn(z) is largest where z is, or where it is smallest if
// the scale is negative. So z is compared with its sign changed there, as "keys".

// How channels of z are normalised and compared, for all lanes of a period.
struct PoolTables {
  NormaliseTables normalise;
  Scratch<float> sign;       // -0 where the scale is negative, else 0
  Scratch<int64_t> settled;  // channels whose normalised values don't follow the order of keys

  PoolTables(const Loaded& z, const Channels& channels) : normalise(z, channels) {
    sign = channels.table([&](int64_t c) { return std::signbit(normalise.scale[c]) ? -0.0F : 0; });
    for (int64_t c = 0; c < channels.count; c++) {
      const bool ordered = normalise.scale[c] != 0 && std::isfinite(normalise.scale[c]) &&
                           std::isfinite(normalise.centre[c]) && std::isfinite(normalise.offset[c]);
      if (!ordered) settled.push_back(c);
    }
  }
};

// Shapes of a call, and what all its tasks read.
template <class T>
struct PoolCall {
  int64_t channels, width, height;      // of z
  int64_t out_width, out_height;        // of y
  int64_t before_width, before_height;  // padding
  const T* z;
  T *y, *pooled;
  uint8_t* argmax;
  const PoolTables& tables;

  int64_t z_row() const { return width * channels; }
  int64_t out_row() const { return out_width * channels; }
};

// A vector of channels of one pixel.
struct OnePixel {
  template <class DX, class T>
  HWY_INLINE hn::Vec<DX> operator()(DX d, const T* p) const {
    return load_vector(d, p);
  }
};

// The largest key so far, and which tap has it.
template <class DX>
struct Largest {
  using I = hn::RebindToSigned<DX>;
  hn::Vec<DX> key;
  hn::Vec<I> tap;

  // The first of equals wins. `nans`: a NaN beats every number, and nothing beats the first NaN;
  // else there is none.
  template <bool nans>
  HWY_INLINE void meet(hn::Vec<DX> x, hn::Vec<I> at) {
    auto wins = hn::Gt(x, key);
    if constexpr (nans) wins = hn::Or(wins, hn::And(hn::IsNaN(x), hn::Not(hn::IsNaN(key))));
    key = hn::IfThenElse(wins, x, key);
    tap = hn::IfThenElse(hn::RebindMask(I(), wins), at, tap);
  }
};

// The largest of the taps [first, last) of one row, whose tap 0 lies at x. Adds to `sum` every
// column that no other pixel adds: it becomes NaN if one of them is.
template <bool nans, class DX, class Load, class T>
HWY_INLINE Largest<DX> largest_of_row(DX d, const Load& load, const T* x, int64_t step, int first,
                                      int last, hn::Vec<DX> sign, hn::Vec<DX>& sum) {
  const typename Largest<DX>::I di;
  const auto start = load(d, x + first * step);
  Largest<DX> best{hn::Xor(start, sign), hn::Set(di, first)};
  auto part = start;
  for (int t = first + 1; t < last; t++) {
    const auto next = load(d, x + t * step);
    best.template meet<nans>(hn::Xor(next, sign), hn::Set(di, t));
    if (t < 2 || first == 1) part = hn::Add(part, next);
  }
  sum = hn::Add(sum, part);
  return best;
}

// Pixels of y that are made alike: vectors of channels [channel, ...) of `count` pixels, or of
// pairs of pixels, from `pixel` on.
struct Run {
  int64_t pixel, channel, count, pixels;  // pixels: of a vector
};

// body(d, load, first tap, last tap, run) for runs that cover a row of y.
template <class T, class Body>
HWY_INLINE void for_row(const PoolCall<T>& call, const Body& body) {
  const int64_t channels = call.channels, last = call.out_width - 1;
  const auto one_pixel = [&](auto first_tap, auto last_tap, int64_t w, int64_t count) HWY_ATTR {
    for_channels(channels, [&](auto d, int64_t c) HWY_ATTR {
      body(d, OnePixel(), first_tap, last_tap, Run{w, c, count, 1});
    });
  };
  const auto edge = [&](int64_t w) HWY_ATTR {
    one_pixel(w < call.before_width ? 1 : 0, w == last ? 2 : 3, w, 1);
  };
  int64_t w = 0;
  if (call.before_width == 1 && last > 0) edge(w++);
  if (2 * channels == lanes()) {
    const int64_t pairs = (last - w) / 2;
    body(D(), TwoPixels{2 * channels}, Constant<0>(), Constant<3>(), Run{w, 0, pairs, 2});
    w += 2 * pairs;
  }
  if (w < last) one_pixel(Constant<0>(), Constant<3>(), w, last - w);
  edge(last);
}

// Largest keys of one row of z, for all pixels of a row of y.
struct RowKeys {
  float* key;
  int32_t* tap;

  template <class DX>
  HWY_INLINE Largest<DX> load(DX d, int64_t e) const {
    return {hn::LoadU(d, key + e), hn::LoadU(typename Largest<DX>::I(), tap + e)};
  }
  template <class DX>
  HWY_INLINE void store(DX d, int64_t e, const Largest<DX>& largest) const {
    hn::StoreU(largest.key, d, key + e);
    hn::StoreU(largest.tap, typename Largest<DX>::I(), tap + e);
  }
};

// Those of the row at z, which may lie above the first.
template <class T>
HWY_NOINLINE void find_keys(const PoolCall<T>& call, const T* z, bool inside, const RowKeys& keys) {
  if (!inside) {
    std::fill_n(keys.key, call.out_row(), -std::numeric_limits<float>::infinity());
    std::fill_n(keys.tap, call.out_row(), 0);
    return;
  }
  for_row(call, [&](auto d, const auto& load, auto first, auto last, const Run& run) HWY_ATTR {
    const int64_t step = call.channels;
    const T* x = z + (2 * run.pixel - call.before_width) * step + run.channel;
    const auto sign = hn::LoadU(d, call.tables.sign.data() + run.channel);
    auto sum = hn::Zero(d);
    for (int64_t i = 0; i < run.count; i++, x += 2 * run.pixels * step)
      keys.store(d, (run.pixel + i * run.pixels) * step + run.channel,
                 largest_of_row<true>(d, load, x, step, first, last, sign, sum));
  });
}

// Beside stores the hardware did not prefetch enough: rows of z are asked for so many floats before
// they are read, and the next even row of u while a row is pooled.
constexpr int64_t in_row_ahead = 512;
constexpr int64_t near_floats = 4096;  // what is asked for beside this stays in L1

// One row of y. `keys` are those of the window's first row, and then of its last. z: the window's
// second row, and skip what is added to the maxima. `ahead`: what each vector asks for.
// Without `nans` the result says whether all is right: there was no NaN.
template <bool nans, class T>
HWY_NOINLINE bool pool_row(const PoolCall<T>& call, const T* z, const RowKeys& keys,
                           const float* skip, int64_t out, bool below, bool past_caches,
                           Ahead ahead) {
  const Affine affine = call.tables.normalise.affine();
  bool right = true;
  for_row(
      call, [&](auto d, const auto& load, auto first_tap, auto last_tap, const Run& run) HWY_ATTR {
        using DX = decltype(d);
        const int first = first_tap, last = last_tap;
        const typename Largest<DX>::I di;
        const hn::Rebind<uint32_t, DX> du;
        const hn::Rebind<uint8_t, DX> d8;
        const int64_t step = call.channels, z_row = call.z_row();
        const auto sign = hn::LoadU(d, call.tables.sign.data() + run.channel);
        const auto centre = hn::LoadU(d, affine.centre + run.channel);
        const auto scale = hn::LoadU(d, affine.scale + run.channel);
        const auto offset = hn::LoadU(d, affine.offset + run.channel);
        const T* x = z + (2 * run.pixel - call.before_width) * step + run.channel;
        const int64_t begin = run.pixel * step + run.channel;
        T *y = call.y + out + begin, *pooled = call.pooled + out + begin;
        uint8_t* argmax = call.argmax + out + begin;
        const float* added = skip + begin;
        const RowKeys kept{keys.key + begin, keys.tap + begin};
        auto sum = hn::Zero(d);
        const int64_t end = run.count * run.pixels * step;
        const int64_t line = run.pixels * step;  // a vector's share of a row of z is two of these
        for (int64_t e = 0; e < end; e += run.pixels * step, x += 2 * run.pixels * step) {
          for (int64_t i = 0; i < 2; i++) {
            hwy::Prefetch(x + i * line + in_row_ahead);
            hwy::Prefetch(x + z_row + i * line + in_row_ahead);
          }
          for (int64_t i = 0; i < ahead.share; i += 16) prefetch_far(ahead.next + i);
          ahead.next += ahead.share;
          Largest<DX> best = kept.load(d, e);
          const Largest<DX> second = largest_of_row<nans>(d, load, x, step, first, last, sign, sum);
          best.template meet<nans>(second.key, hn::Add(second.tap, hn::Set(di, 3)));
          if (below) {
            const Largest<DX> third =
                largest_of_row<nans>(d, load, x + z_row, step, first, last, sign, sum);
            best.template meet<nans>(third.key, hn::Add(third.tap, hn::Set(di, 6)));
            kept.store(d, e, third);
          }
          const auto winner = hn::Xor(best.key, sign);
          const auto value = hn::MulAdd(hn::Sub(winner, centre), scale, offset);
          const auto off = hn::Le(value, hn::Zero(d));
          const auto total = hn::Add(hn::IfThenZeroElse(off, value), hn::LoadU(d, added + e));
          const auto tap =
              hn::TruncateTo(d8, hn::BitCast(du, hn::IfThenElse(hn::RebindMask(di, off),
                                                                hn::Set(di, pool_off), best.tap)));
          if (past_caches) {
            stream_vector(d, total, y + e);
            stream_vector(d, winner, pooled + e);
          } else {
            store_vector(d, total, y + e);
            store_vector(d, winner, pooled + e);
          }
          if (past_caches && hn::MaxLanes(DX()) == 16)
            hn::Stream(tap, d8, argmax + e);
          else
            hn::StoreU(tap, d8, argmax + e);
        }
        if constexpr (!nans) right = right && hn::AllFalse(d, hn::IsNaN(sum));
      });
  return right;
}

// Does a channel of a row of y anew, tap by tap. z: row 0 of the image.
template <class T>
void settle_row(const PoolCall<T>& call, const T* z, int64_t q, int64_t c, const float* skip,
                int64_t out) {
  const NormaliseTables& tables = call.tables.normalise;
  for (int64_t w = 0; w < call.out_width; w++) {
    float best = 0, winner = 0;
    int tap = -1;
    for (int t = 0; t < 9; t++) {
      const int64_t row = 2 * q - call.before_height + t / 3;
      const int64_t column = 2 * w - call.before_width + t % 3;
      if (row < 0 || row >= call.height || column < 0 || column >= call.width) continue;
      const float x = to_float(z[row * call.z_row() + column * call.channels + c]);
      const float value = (x - tables.centre[c]) * tables.scale[c] + tables.offset[c];
      if (tap >= 0 && !(value > best || (std::isnan(value) && !std::isnan(best)))) continue;
      best = value;
      winner = x;
      tap = t;
    }
    const bool off = best <= 0;
    const int64_t e = w * call.channels + c;
    call.y[out + e] = element_of<T>((off ? 0 : best) + skip[e]);
    call.pooled[out + e] = element_of<T>(winner);
    call.argmax[out + e] = static_cast<uint8_t>(off ? pool_off : tap);
  }
}

// skip [pixels][columns] = x w + bias. Meanwhile the `ahead` floats at z are asked for.
HWY_NOINLINE void multiply_pixels(const float* x, int64_t pixels, const Panels& weights,
                                  const float* bias, const float* z, int64_t ahead, float* skip) {
  const int64_t depth = weights.depth, tile = 16 * depth;
  multiply<Left::rows>(
      Block{pixels, 0, weights.columns, 0, depth, {true, true}}, LeftBlock{x, depth}, weights,
      [=](int64_t number) {
        return (number + 1) * tile <= ahead ? Ahead{z + number * tile, 16} : Ahead{x, 0};
      },
      EvenRows{skip, weights.columns}, AddBias{bias});
}

// How an image's rows of y are cut into bands, one task each. A band's first row of keys is made
// twice; a band makes `together` rows of the product at a time.
struct PoolBands {
  int64_t rows, count, together;

  explicit PoolBands(const Shape& y) {
    constexpr int64_t tasks = 128, least_rows = 4, least_pixels = 64;
    const int64_t width = std::max<int64_t>(1, y.width());
    together = std::clamp<int64_t>(least_pixels / width, 1, std::max<int64_t>(1, y.height()));
    const int64_t wanted = std::max(least_rows, y.images() * y.height() / tasks);
    rows = (wanted + together - 1) / together * together;
    count = (y.height() + rows - 1) / rows;
  }
};

// Streaming stores want whole lines, in one piece.
template <class T>
bool pools_past_caches(const Shape& z, const View& y, const View& pooled, const View& argmax) {
  const int64_t channels = z.channels();
  const bool pairs = 2 * channels == lanes() && z.width() % 4 == 0;
  const bool whole = std::is_same_v<T, float> ? pairs || channels % lanes() == 0
                                              : channels >= 8 && (pairs || channels == lanes());
  return whole && streams_between_work(y) && streams_between_work(pooled) &&
         reinterpret_cast<uintptr_t>(argmax.data) % line_bytes == 0;
}

template <class T>
void pool_skip_of(Stream& stream, const Loaded& z, const Loaded& u, const View& w, const View& bias,
                  const View& y, const View& pooled, const View& argmax) {
  const Shape &in = z.x.shape, &out = y.shape;
  const int64_t channels = in.channels(), depth = u.x.shape.channels();
  const PoolTables tables(z, Channels(channels));
  const PoolCall<T> call{
      channels,       in.width(),          in.height(),          out.width(),
      out.height(),   in.width() % 2,      in.height() % 2,      elements<T>(z.x),
      elements<T>(y), elements<T>(pooled), argmax.as<uint8_t>(), tables};
  const EvenPixels<T> even(u);
  const int64_t padded = padded_columns(channels);
  Scratch<float> packed(static_cast<size_t>(depth * padded));
  for (int64_t c = 0; c < channels; c += panel_width(channels - c))
    pack_panel(w.as<float>(), channels, depth, channels, c, packed.data() + c * depth);
  const Panels weights{packed.data(), depth, channels};
  Scratch<float> added(static_cast<size_t>(padded));
  if (bias) std::copy_n(bias.as<float>(), channels, added.begin());

  const bool past_caches = pools_past_caches<T>(in, y, pooled, argmax);
  const PoolBands bands(out);
  const int64_t pixels = bands.together * out.width();
  // Rows start on cache lines.
  const auto room = [](int64_t elements) { return (elements + 15) / 16 * 16; };
  const int64_t row_room = room(call.out_row());
  const size_t floats =
      static_cast<size_t>(room(pixels * depth) + room(pixels * channels) + 2 * row_room);
  const float* const offsets = added.data();
  // Where rows are long, memory is read all the time: z's next rows while even pixels are gathered
  // and multiplied, and u's while a row is pooled; that many floats with each pixel and vector.
  const bool long_rows = bands.together == 1;
  const int64_t z_share =
      long_rows ? std::min(asked_floats<T>(2 * channels), near_floats / out.width()) : 0;
  const int64_t u_share = long_rows ? asked_floats<T>(2 * depth * lanes() / channels) : 0;
  stream.pool->run(out.images() * bands.count, [&](int64_t task, int worker) HWY_ATTR {
    auto* const x = static_cast<float*>(stream.pool->scratch(worker, floats * sizeof(float)));
    float* const skips = x + room(pixels * depth);
    float* const key = skips + room(pixels * channels);
    const RowKeys keys{key, reinterpret_cast<int32_t*>(key + row_room)};
    const int64_t image = task / bands.count, begin = task % bands.count * bands.rows;
    const int64_t end = std::min(begin + bands.rows, call.out_height);
    const T* const picture = call.z + image * call.height * call.z_row();
    const auto row_of = [&](int64_t row) { return picture + row * call.z_row(); };
    const int64_t above = 2 * begin - call.before_height;
    find_keys(call, row_of(std::max<int64_t>(above, 0)), above >= 0, keys);
    for (int64_t first = begin; first < end; first += bands.together) {
      const int64_t some = std::min(bands.together, end - first);
      const int64_t at = image * call.out_height + first;
      const float* const z_rows = asked_at(row_of(2 * first - call.before_height + 1));
      even.gather(at * call.out_width, some * call.out_width, 0, depth, Ahead{z_rows, z_share}, x);
      const int64_t asked = z_share * call.out_width;
      const int64_t left = asked_floats<T>(call.z_row() * 2) - asked;
      multiply_pixels(x, some * call.out_width, weights, offsets, z_rows + asked,
                      z_share > 0 && first + 1 < call.out_height ? left : 0, skips);
      for (int64_t i = 0; i < some; i++) {
        const int64_t q = first + i, second = 2 * q - call.before_height + 1;
        const int64_t to = (at + i) * call.out_row();
        const float* const skip = skips + i * call.out_row();
        const bool more = q + 1 < end;
        const float* const next = more ? asked_at(even.at((at + 1) * call.out_width)) : skip;
        const Ahead ahead{next, more ? u_share : 0};
        const bool below = second + 1 < call.height;
        if (!pool_row<false>(call, row_of(second), keys, skip, to, below, past_caches, ahead)) {
          find_keys(call, row_of(std::max<int64_t>(second - 1, 0)), second > 0, keys);
          pool_row<true>(call, row_of(second), keys, skip, to, below, past_caches, ahead);
        }
        for (const int64_t c : tables.settled) settle_row(call, picture, q, c, skip, to);
      }
    }
    if (past_caches) hwy::FlushStream();
  });
}

void pool_skip_target(Stream& stream, const Loaded& z, const Loaded& u, const View& w,
                      const View& bias, const View& y, const View& pooled, const View& argmax) {
  for_type_of(y, [&]<class T>(std::type_identity<T>) {
    pool_skip_of<T>(stream, z, u, w, bias, y, pooled, argmax);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fulmar::cpu {

HWY_EXPORT(pool_skip_target);
void pool_skip(Stream& stream, const Loaded& z, const Loaded& u, const View& w, const View& bias,
               const View& y, const View& pooled, const View& argmax) {
  HWY_DYNAMIC_DISPATCH(pool_skip_target)(stream, z, u, w, bias, y, pooled, argmax);
}

}  // namespace fulmar::cpu
#endif
