# How our own tests, examples and benchmarks are compiled; users never see this.

set(CMAKE_CXX_EXTENSIONS OFF)

if(NOT DEFINED CMAKE_CXX_COMPILER_LAUNCHER)
    find_program(GRAFO_CCACHE ccache)
    if(GRAFO_CCACHE)
        # With what ccache needs to look at precompiled headers
        set(CMAKE_CXX_COMPILER_LAUNCHER
            "${CMAKE_COMMAND}" -E env CCACHE_SLOPPINESS=pch_defines,time_macros "${GRAFO_CCACHE}")
    endif()
endif()

if(MSVC)
    set(grafo_warning_flags /W4)
    set(grafo_error_flag /WX)
else()
    if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND GRAFO_CCACHE)
        add_compile_options(-fpch-preprocess)
    endif()
    set(grafo_warning_flags -Wall -Wextra -Wpedantic -Wshadow -Wconversion)
    if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
        # False ones about handles, which detail/handle.hpp and graph.hpp silence; but g++ 12
        # forgets that in a precompiled header.
        list(APPEND grafo_warning_flags -Wno-maybe-uninitialized -Wno-use-after-free)
    endif()
    set(grafo_error_flag -Werror)
endif()
if(GRAFO_WARNINGS_AS_ERRORS)
    list(APPEND grafo_warning_flags ${grafo_error_flag})
endif()

add_library(grafo_warnings INTERFACE)
target_compile_options(grafo_warnings INTERFACE ${grafo_warning_flags})
