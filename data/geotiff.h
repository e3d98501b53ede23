#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "data/colour_table.h"
#include "data/georeference.h"
#include "data/image.h"

namespace fulmar::data {

class TiffFile;

// Where the picture of a file lies; empty for files that don't say (PNG, JPEG, BMP, plain TIFF).
// Tags that contradict the standard (a scale without a tiepoint, say) are passed over, as the
// picture is readable all the same. Error(file): a file that can't be
// read, or a TIFF whose first page can't.
Georeference read_georeference(const std::string& path);
Georeference read_georeference(const TiffFile& file);

// Whether the name is one of a TIFF, by its extension.
bool is_called_tiff(const std::string& path);

// Writes a picture of u8, u16 or f32 and any number of bands: deflate with a predictor, in strips,
// BigTIFF where it may pass 4 GB, whole or not at all (as AtomicFile). `nodata` is written as
// GDAL's tag, in the pixels' own units; the pixels are written as they are, NaN included.
// With `colours`, 256 for one band of u8, the numbers are a palette's places.
// Error(file) where it can't be written, Error(usage) for other types and reference systems that
// no GeoTIFF can hold.
void write_geotiff(const std::string& path, const Image& image, const Georeference& georeference,
                   std::optional<double> nodata = {}, const ColourTable& colours = {});

}  // namespace fulmar::data
