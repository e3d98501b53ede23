#include "data/statistics.h"

#include <cmath>
#include <limits>
#include <type_traits>

#include "kernels/error.h"

namespace fulmar::data {

namespace {

struct Sums {
  int64_t valid = 0, upper = 0;
  double mean = 0, squares = 0;  // squared distances from the mean

  // Chan, Golub & LeVeque, Updating formulae and a pairwise algorithm (1979): nothing cancels.
  void add(const Sums& other) {
    if (other.valid == 0) return;
    const auto a = static_cast<double>(valid), b = static_cast<double>(other.valid);
    const double apart = other.mean - mean;
    mean += apart * b / (a + b);
    squares += other.squares + apart * apart * a * b / (a + b);
    valid += other.valid;
    upper += other.upper;
  }
};

// Of one band of a picture, in two passes.
template <class T>
Sums sums_of(const T* values, int64_t pixels, int64_t bands, std::optional<double> nodata) {
  Sums sums;
  const auto each = [&](const auto& use) {
    for (int64_t i = 0; i < pixels; i++) {
      const auto value = static_cast<double>(values[i * bands]);
      if (std::isfinite(value) && value != nodata) use(value);
    }
  };
  each([&](double value) {
    sums.valid++;
    if constexpr (std::is_integral_v<T>) {
      constexpr T half = std::numeric_limits<T>::max() / 2;
      sums.upper += value > static_cast<double>(half);
    }
    sums.mean += value;
  });
  if (sums.valid > 0) sums.mean /= static_cast<double>(sums.valid);
  each([&](double value) { sums.squares += (value - sums.mean) * (value - sums.mean); });
  return sums;
}

template <class T>
std::vector<Sums> sums_of_bands(const std::vector<uint8_t>& picture, const ImageHeader& header) {
  std::vector<Sums> sums;
  for (int64_t band = 0; band < header.bands; band++)
    sums.push_back(sums_of(reinterpret_cast<const T*>(picture.data()) + band, header.pixels(),
                           header.bands, header.nodata));
  return sums;
}

}  // namespace

std::vector<BandStatistics> measure_bands(const Pictures& pictures, ThreadPool& pool,
                                          const Progress& progress) {
  std::vector<std::vector<Sums>> each(static_cast<size_t>(pictures.count()));
  throw_first(for_each_picture(
      pool, pictures.count(),
      [&](int64_t i) {
        const ImageHeader& header = pictures.header(i);
        std::vector<uint8_t> picture(static_cast<size_t>(header.bytes()));
        pictures.copy(i, picture.data(), header.bytes() / header.height);
        std::vector<Sums>& sums = each[static_cast<size_t>(i)];
        switch (header.type) {
          case DType::u8:
            sums = sums_of_bands<uint8_t>(picture, header);
            break;
          case DType::u16:
            sums = sums_of_bands<uint16_t>(picture, header);
            break;
          default:
            sums = sums_of_bands<float>(picture, header);
        }
      },
      progress));
  std::vector<BandStatistics> result(static_cast<size_t>(pictures.bands()));
  for (size_t band = 0; band < result.size(); band++) {
    Sums all;
    for (int64_t i = 0; i < pictures.count(); i++) {
      all.add(each[static_cast<size_t>(i)][band]);
      result[band].pixels += pictures.header(i).pixels();
    }
    result[band].valid = all.valid;
    result[band].upper = all.upper;
    result[band].mean = all.mean;
    if (all.valid > 0)
      result[band].deviation = std::sqrt(all.squares / static_cast<double>(all.valid));
  }
  return result;
}

}  // namespace fulmar::data
