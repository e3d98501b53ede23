#include "tools/picture_options.h"

#include "tools/cli.h"
#include "tools/run/text.h"

namespace fulmar::tools {

CLI::Option* add_scenes(CLI::App& app, std::string& value) {
  return add_choice(
      app, "--scenes", value, {"name", "prefix", "file"},
      "Pictures of one scene stay on one side of a split. name: of Sentinel-1's names satellite,\n"
      "start and data take, of others what is before the first _ unless it is the class or the\n"
      "same throughout; prefix: always that; file: each picture is its own (default name)");
}

CLI::Option* add_bands(CLI::App& app, std::optional<std::string>& value,
                       const std::string& otherwise) {
  return app
      .add_option(
          "--bands", value,
          "The files of a sample, which share what * stands for and lie in one folder:\n"
          "\"*_VV.tif,*_VH.tif\"; none: a file is a sample. Of sea-ice scenes in NetCDF what is\n"
          "taken of them: sar (hh, hv, incidence), distance, amsr2 or its frequencies (6.9, 7.3,\n"
          "10.7, 18.7, 23.8, 36.5, 89), era5, location, month, or names of variables " +
              otherwise)
      ->type_name("A,B,...");
}

CLI::Option* add_labels(CLI::App& app, std::optional<std::string>& value) {
  return app
      .add_option("--labels", value,
                  "Of a model of pixels: the label rasters, as 'train' takes them (default: as in\n"
                  "the model's training)")
      ->type_name("PATTERN");
}

CLI::Option* add_pictures(CLI::App& app, std::optional<std::string>& value) {
  return app
      .add_option("--pictures", value,
                  "Which files the label rasters go with, as *_VV.tif (default: those whose names "
                  "begin alike)")
      ->type_name("PATTERN");
}

CLI::Option* add_ignore(CLI::App& app, std::optional<std::vector<double>>& value) {
  return add_numbers(app, "--ignore", value, 0,
                     "Numbers of pixels without a label, beside 255, negative ones and the file's "
                     "nodata value",
                     "N,N,...");
}

CLI::Option* add_max_pixels(CLI::App& app, int64_t& value) {
  return add_integer(
      app, "--max-pixels", value, 1, INT64_MAX,
      "Larger pictures are refused before they are read (default " + with_separators(value) + ")");
}

}  // namespace fulmar::tools
