# Compiles through ccache where it is found: a second clone, a switched branch or a cleaned build
# folder takes seconds. FULMAR_CCACHE=OFF switches it off.
option(FULMAR_CCACHE "Compile through ccache where it is found" ON)
if(NOT FULMAR_CCACHE)
  return()
endif()
find_program(FULMAR_CCACHE_PROGRAM ccache)
mark_as_advanced(FULMAR_CCACHE_PROGRAM)
if(FULMAR_CCACHE_PROGRAM)
  # Paths below the source folder are hashed relative to the build folder, which isn't hashed: so
  # two clones share what was compiled, as long as their build folders lie alike.
  set(launcher ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${PROJECT_SOURCE_DIR} CCACHE_NOHASHDIR=1
    ${FULMAR_CCACHE_PROGRAM})
  foreach(language CXX CUDA)
    if(NOT CMAKE_${language}_COMPILER_LAUNCHER)
      set(CMAKE_${language}_COMPILER_LAUNCHER ${launcher})
    endif()
  endforeach()
endif()
