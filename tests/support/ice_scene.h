#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "data/ice_bands.h"
#include "data/netcdf.h"
#include "tests/support/built.h"

namespace fulmar::test {

// Whether the program that reads NetCDF was built; the library finds it then.
inline bool reads_netcdf() {
  if (built::netcdf.empty()) return false;
  ::setenv("FULMAR_NETCDF_PROGRAM", built::netcdf.c_str(), 1);
  return true;
}

// A number by variable, row and column of its own grid.
using IceNumber = std::function<double(const std::string&, int64_t, int64_t)>;

// What a scene is written with; what differs in a test is changed before.
struct IceFile {
  int64_t height = 60, width = 80, cell_rows = 2, cell_columns = 3;
  int64_t chart_height = 0;  // 0: the height
  std::vector<std::string> left_out{};
  bool charts = true, pictures = true;
  IceNumber number;

  void write(const std::string& path) const {
    std::vector<data::NetcdfArray> arrays;
    const auto add = [&](const std::string& name, const std::vector<std::string>& dimensions,
                         int64_t rows, int64_t columns, DType type) {
      for (const std::string& out : left_out)
        if (out == name) return;
      data::NetcdfArray array{name, dimensions, type, {}};
      const size_t bytes = size_of(type);
      array.data.resize(static_cast<size_t>(rows * columns) * bytes);
      for (int64_t row = 0; row < rows; row++)
        for (int64_t column = 0; column < columns; column++) {
          uint8_t* at = array.data.data() + static_cast<size_t>(row * columns + column) * bytes;
          const double value = number(name, row, column);
          const auto single = static_cast<float>(value);
          if (type == DType::u8) *at = static_cast<uint8_t>(static_cast<int64_t>(value));
          if (type == DType::f32) std::memcpy(at, &single, bytes);
          if (type == DType::f64) std::memcpy(at, &value, bytes);
        }
      if (type != DType::f64)
        array.chunks = {std::min<int64_t>(rows, 16), std::min<int64_t>(columns, 16)};
      arrays.push_back(std::move(array));
    };
    if (pictures) {
      for (const std::string& band : data::usual_ice_bands()) {
        const bool of_pixels = data::grid_of_ice_band(band) == data::IceGrid::pixels;
        if (of_pixels)
          add(band, {"sar_lines", "sar_samples"}, height, width, DType::f32);
        else
          add(band, {"2km_grid_lines", "2km_grid_samples"}, cell_rows, cell_columns, DType::f32);
      }
      for (const char* name : {"sar_grid2d_latitude", "sar_grid2d_longitude"})
        add(name, {"points", "points"}, 3, 3, DType::f64);
    }
    const int64_t chart_rows = chart_height > 0 ? chart_height : height;
    for (const char* chart : {"SIC", "SOD", "FLOE"})
      if (charts) add(chart, {"chart_lines", "sar_samples"}, chart_rows, width, DType::u8);
    data::write_netcdf(path,
                       {{"sar_lines", height},
                        {"sar_samples", width},
                        {"chart_lines", chart_rows},
                        {"2km_grid_lines", cell_rows},
                        {"2km_grid_samples", cell_columns},
                        {"points", 3}},
                       {{"scene_id", "a scene of a test"}}, arrays);
  }
};

}  // namespace fulmar::test
