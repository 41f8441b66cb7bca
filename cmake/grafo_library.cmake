# grafo::grafo, the core, which needs nothing but threads;
# grafo::compiled, the same for files that compile faster, see grafo_compiled.cmake;
# grafo::fmt, the core and fmt for <grafo/fmt.hpp>, where fmt is found.

find_package(Threads REQUIRED)

add_library(grafo INTERFACE)
add_library(grafo::grafo ALIAS grafo)
target_compile_features(grafo INTERFACE cxx_std_20)
target_include_directories(
    grafo INTERFACE "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>")
target_link_libraries(grafo INTERFACE Threads::Threads)
include("${CMAKE_CURRENT_LIST_DIR}/grafo_compiled.cmake")

if(NOT TARGET fmt::fmt)
    find_package(fmt QUIET)
    if(fmt_FOUND)
        # else a project that adds us by add_subdirectory could not link grafo::fmt
        foreach(target IN ITEMS fmt::fmt fmt::fmt-header-only)
            get_target_property(imported ${target} IMPORTED)
            if(imported)
                set_target_properties(${target} PROPERTIES IMPORTED_GLOBAL TRUE)
            endif()
        endforeach()
    endif()
endif()
if(TARGET fmt::fmt)
    add_library(grafo_fmt INTERFACE)
    add_library(grafo::fmt ALIAS grafo_fmt)
    if(GRAFO_FMT_HEADER_ONLY)
        target_link_libraries(grafo_fmt INTERFACE grafo fmt::fmt-header-only)
    else()
        target_link_libraries(grafo_fmt INTERFACE grafo fmt::fmt)
    endif()
endif()

# build/single_include/grafo/grafo.hpp: the whole core in one file
add_custom_target(
    grafo_single_header
    COMMAND "${PROJECT_SOURCE_DIR}/tools/amalgamate"
            "${PROJECT_BINARY_DIR}/single_include/grafo/grafo.hpp"
    VERBATIM)
