# fulmar_objects holds kernels, engine and model; each folder adds its sources.
# fulmar is libfulmar.so, made of them; fulmar_static is libfulmar.a, installed where FULMAR_STATIC
# is on. The program links the objects themselves.
include(CMakePackageConfigHelpers)

add_library(fulmar_objects OBJECT)
set_target_properties(fulmar_objects PROPERTIES
  POSITION_INDEPENDENT_CODE ON CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
target_link_libraries(fulmar_objects PUBLIC fulmar_flags Threads::Threads ${CMAKE_DL_LIBS}
  PRIVATE fulmar::hwy nlohmann_json::nlohmann_json)

add_library(fulmar SHARED)
add_library(Fulmar::fulmar ALIAS fulmar)
set_target_properties(fulmar PROPERTIES
  VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR}
  CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
target_compile_features(fulmar PUBLIC cxx_std_20)
# Templates of the standard library are always visible; the map keeps them from being exported.
target_link_options(fulmar PRIVATE -Wl,--version-script=${PROJECT_SOURCE_DIR}/cmake/exports.map)
set_target_properties(fulmar PROPERTIES LINK_DEPENDS ${PROJECT_SOURCE_DIR}/cmake/exports.map)
target_link_libraries(fulmar PRIVATE $<BUILD_INTERFACE:fulmar_objects> $<BUILD_INTERFACE:fulmar::hwy>)

add_library(fulmar_static STATIC)
set_target_properties(fulmar_static PROPERTIES OUTPUT_NAME fulmar LINKER_LANGUAGE CXX)
target_link_libraries(fulmar_static PRIVATE $<BUILD_INTERFACE:fulmar_objects>
  INTERFACE Threads::Threads ${CMAKE_DL_LIBS}
    $<BUILD_INTERFACE:fulmar::hwy> $<INSTALL_INTERFACE:hwy>)

# <fulmar/fulmar.h> is the C API; headers of the C++ API include each other as "engine/session.h".
foreach(target fulmar fulmar_static)
  target_include_directories(${target} INTERFACE
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}> $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
    $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>
    $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}/fulmar>)
endforeach()
install(FILES include/fulmar/fulmar.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/fulmar
  COMPONENT library)

set(FULMAR_PACKAGE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/Fulmar)
set(targets fulmar)
if(FULMAR_STATIC)
  list(APPEND targets fulmar_static)
else()
  set_target_properties(fulmar_static PROPERTIES EXCLUDE_FROM_ALL ON)
endif()
install(TARGETS ${targets} EXPORT FulmarTargets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT library
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT library)
install(EXPORT FulmarTargets NAMESPACE Fulmar:: DESTINATION ${FULMAR_PACKAGE_DIR} COMPONENT library)
configure_package_config_file(cmake/FulmarConfig.cmake.in ${PROJECT_BINARY_DIR}/FulmarConfig.cmake
  INSTALL_DESTINATION ${FULMAR_PACKAGE_DIR})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/FulmarConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/FulmarConfig.cmake ${PROJECT_BINARY_DIR}/FulmarConfigVersion.cmake
  DESTINATION ${FULMAR_PACKAGE_DIR} COMPONENT library)

# The prefix is found from where fulmar.pc lies, so that an installed copy can be moved.
file(RELATIVE_PATH FULMAR_PC_PREFIX /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
configure_file(cmake/fulmar.pc.in ${PROJECT_BINARY_DIR}/fulmar.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/fulmar.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig
  COMPONENT library)

# With the library and with the program, whichever is passed on.
foreach(component library program)
  install(FILES LICENSE THIRD_PARTY.md DESTINATION ${CMAKE_INSTALL_DATAROOTDIR}/doc/fulmar
    COMPONENT ${component})
endforeach()

# Installs headers of the calling folder under include/fulmar, with the folder's name kept.
function(fulmar_public_headers)
  foreach(header ${ARGN})
    get_filename_component(folder ${CMAKE_CURRENT_SOURCE_DIR}/${header} DIRECTORY)
    file(RELATIVE_PATH folder ${PROJECT_SOURCE_DIR} ${folder})
    install(FILES ${header} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/fulmar/${folder}
            COMPONENT library)
  endforeach()
endfunction()
