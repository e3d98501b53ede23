# Everything comes from distribution packages (tools/setup.sh); THIRD_PARTY.md says why each is used.
set(FULMAR_PACKAGES "" CACHE PATH
  "Folder that tools/setup.sh --into made: looked through before the system's own")
if(FULMAR_PACKAGES)
  list(PREPEND CMAKE_PREFIX_PATH ${FULMAR_PACKAGES}/usr)
  set(place ${FULMAR_PACKAGES}/usr/lib/${CMAKE_LIBRARY_ARCHITECTURE})
  # An rpath of the old kind is followed for the libraries of our libraries too.
  add_link_options("LINKER:--disable-new-dtags,-rpath,${place},-rpath-link,${place}")
endif()

find_package(Threads REQUIRED)
find_package(nlohmann_json REQUIRED)

# Headers and library are sought by hand: pkg-config and CMake files differ between distributions.
function(fulmar_find_library target header library package)
  find_path(${target}_INCLUDE_DIR ${header})
  find_library(${target}_LIBRARY NAMES ${library})
  if(NOT ${target}_INCLUDE_DIR OR NOT ${target}_LIBRARY)
    message(FATAL_ERROR "${header} or lib${library} not found: install ${package} "
      "(tools/setup.sh installs everything needed)")
  endif()
  mark_as_advanced(${target}_INCLUDE_DIR ${target}_LIBRARY)
  add_library(fulmar::${target} UNKNOWN IMPORTED)
  set_target_properties(fulmar::${target} PROPERTIES
    IMPORTED_LOCATION ${${target}_LIBRARY} INTERFACE_INCLUDE_DIRECTORIES ${${target}_INCLUDE_DIR})
endfunction()

fulmar_find_library(hwy hwy/highway.h hwy libhwy-dev)
# Debian's libhwy is a shared library: its variables must be declared as imported.
set_property(TARGET fulmar::hwy PROPERTY INTERFACE_COMPILE_DEFINITIONS HWY_SHARED_DEFINE)
# What follows is the program's.
if(FULMAR_LIBRARY_ONLY)
  return()
endif()
find_package(CLI11 REQUIRED)
fulmar_find_library(spng spng.h spng libspng-dev)
fulmar_find_library(deflate libdeflate.h deflate libdeflate-dev)
fulmar_find_library(jpeg jpeglib.h jpeg libjpeg-dev)
fulmar_find_library(tiff tiffio.h tiff libtiff-dev)
# The library of version 1 has the shorter name.
fulmar_find_library(geographic GeographicLib/Ellipsoid.hpp "GeographicLib;Geographic"
  libgeographiclib-dev)

find_path(stb_INCLUDE_DIR stb_image.h PATH_SUFFIXES stb)
if(NOT stb_INCLUDE_DIR)
  message(FATAL_ERROR "stb_image.h not found: install libstb-dev (tools/setup.sh)")
endif()
mark_as_advanced(stb_INCLUDE_DIR)
add_library(fulmar_stb INTERFACE)
target_include_directories(fulmar_stb SYSTEM INTERFACE ${stb_INCLUDE_DIR})

# For `fulmar import` alone: without them the program says what is missing.
find_path(hdf5_INCLUDE_DIR hdf5.h PATH_SUFFIXES hdf5/serial)
find_library(hdf5_LIBRARY NAMES hdf5_serial hdf5 PATH_SUFFIXES hdf5/serial)
find_path(zip_INCLUDE_DIR zip.h)
find_library(zip_LIBRARY NAMES zip)
mark_as_advanced(hdf5_INCLUDE_DIR hdf5_LIBRARY zip_INCLUDE_DIR zip_LIBRARY)
if(hdf5_INCLUDE_DIR AND hdf5_LIBRARY AND zip_INCLUDE_DIR AND zip_LIBRARY)
  fulmar_find_library(hdf5 hdf5.h hdf5 libhdf5-dev)
  fulmar_find_library(zip zip.h zip libzip-dev)
else()
  message(STATUS "Keras: fulmar import is built without its reader, fulmar-hdf5: hdf5.h or zip.h, "
    "or their libraries, not found (packages libhdf5-dev and libzip-dev; tools/setup.sh)")
endif()

# For scenes in NetCDF alone: without it the program says what is missing.
find_path(netcdf_INCLUDE_DIR netcdf.h)
find_library(netcdf_LIBRARY NAMES netcdf)
mark_as_advanced(netcdf_INCLUDE_DIR netcdf_LIBRARY)
if(netcdf_INCLUDE_DIR AND netcdf_LIBRARY)
  fulmar_find_library(netcdf netcdf.h netcdf libnetcdf-dev)
else()
  message(STATUS "NetCDF: scenes in it are built without their reader, fulmar-netcdf: netcdf.h or "
    "its library not found (package libnetcdf-dev; tools/setup.sh)")
endif()
