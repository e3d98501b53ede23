// fulmar_demo_pictures DIR: small pictures for the demo where no radar images are at hand. Grey sea
// with wind streaks under speckle; in class "vortex" an eddy somewhere bends the streaks, in class
// "calm" nothing does. DIR/{train,test}/{calm,vortex}/N.bmp.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace {

constexpr int side = 96;
constexpr double pi = 3.14159265358979323846;

using Picture = std::array<uint8_t, side * side>;

double uniform(std::mt19937_64& bits, double low, double high) {
  return low + (high - low) * static_cast<double>(bits() >> 11) * 0x1p-53;
}

Picture draw(std::mt19937_64& bits, bool vortex) {
  const double wind = uniform(bits, 0, pi), wave = uniform(bits, 7, 12);
  const double phase = uniform(bits, 0, 2 * pi), bright = uniform(bits, 60, 130);
  const double eye_x = uniform(bits, 30, side - 30), eye_y = uniform(bits, 30, side - 30);
  const double radius = uniform(bits, 18, 26), turn = uniform(bits, 2.5, 4);
  const double sense = bits() % 2 ? 1 : -1;
  Picture picture;
  for (int y = 0; y < side; y++) {
    for (int x = 0; x < side; x++) {
      // The eddy turns the sea about its eye, most at the centre: straight streaks become a spiral.
      const double dx = x - eye_x, dy = y - eye_y;
      const double near = std::exp(-(dx * dx + dy * dy) / (2 * radius * radius));
      const double angle = wind + (vortex ? sense * turn * near : 0);
      const double along = dx * std::cos(angle) + dy * std::sin(angle);
      const double sea = bright * (1 + 0.5 * std::sin(2 * pi * along / wave + phase));
      double looks = 0;  // speckle of four looks: the mean of four exponentials
      for (int k = 0; k < 4; k++) looks -= std::log(1 - uniform(bits, 0, 1)) / 4;
      picture[static_cast<size_t>(y) * side + static_cast<size_t>(x)] =
          static_cast<uint8_t>(std::min(255.0, sea * looks));
    }
  }
  return picture;
}

// 8-bit BMP with a palette of greys.
void write_bmp(const std::filesystem::path& path, const Picture& picture) {
  std::vector<uint8_t> bytes{'B', 'M'};
  const auto put = [&](uint32_t value, int count) {
    for (int i = 0; i < count; i++) bytes.push_back(static_cast<uint8_t>(value >> (8 * i)));
  };
  constexpr uint32_t header = 14 + 40 + 256 * 4;
  for (uint32_t value : {header + side * side, 0u, header}) put(value, 4);
  for (uint32_t value : {40u, uint32_t{side}, uint32_t{side}}) put(value, 4);
  put(1, 2);  // planes
  put(8, 2);  // bits of a pixel
  for (uint32_t value : {0u, uint32_t{side * side}, 2835u, 2835u, 256u, 0u}) put(value, 4);
  for (uint32_t grey = 0; grey < 256; grey++) put(grey * 0x010101u, 4);
  for (int y = side; y-- > 0;)
    bytes.insert(bytes.end(), picture.begin() + y * side, picture.begin() + (y + 1) * side);
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
  if (!file.flush()) throw std::runtime_error("can't write " + path.string());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: fulmar_demo_pictures DIR\n");
    return 2;
  }
  try {
    std::mt19937_64 bits(1);
    for (const auto& [part, count] : {std::pair{"train", 300}, std::pair{"test", 100}}) {
      for (const char* name : {"calm", "vortex"}) {
        const std::filesystem::path folder = std::filesystem::path(argv[1]) / part / name;
        std::filesystem::create_directories(folder);
        for (int i = 0; i < count; i++)
          write_bmp(folder / (std::to_string(i) + ".bmp"), draw(bits, name[0] == 'v'));
      }
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "fulmar_demo_pictures: %s\n", error.what());
    return 3;
  }
  return 0;
}
