"""Memory as a contract: what a fusion needs is known before it starts, and chosen to fit.

The models below give the bytes that a stage allocates at its peak, from shapes alone; their
numbers are fitted from above to measured peaks (``benchmarks/peaks.py``). They count what is
allocated on top of a process that has loaded its libraries and its model, see `Projection`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass

from ..alignment import denoise
from ..alignment.cells import CELL, CELLS
from ..alignment.contradiction import MOST
from ..alignment.wald import LARGEST
from ..degradation.degrade import Degradation
from ..errors import MethodError
from ..grids.pair import Pair
from ..grids.tiling import TilePlan, plan_tiles
from ..methods import Method, MethodOptions, get_method
from ..methods.held import Load, scratch
from ..methods.state import REACH
from ..system.machine import memory_bytes
from ..system.sizes import format_bytes
from ..weightfiles import weights_path
from ..writing.cog import window_shape

#: Tile edges that a budget is met with, from the best: the margins of small ones cost time.
TILES = (1024, 768, 512, 384, 256, 192, 128, 96, 64, 48, 32)
DEFAULT_TILE = 256
#: Several tiles at once are worth more than large ones, up to so many and down to this edge. The
#: tile decides the last bits of a result, so it must not depend on the cores of a machine.
SHARED, LEAST_SHARED = 4, 192
#: Share of the machine's memory that tiles in threads take where no budget is given.
OF_MACHINE = 0.5
#: Interpreter and libraries, without and with torch; measured 0.16 and 0.37 GB.
PLAIN, WITH_TORCH = 220 * 2**20, 420 * 2**20
#: What freed memory that the system did not get back adds.
SLACK = 1.12
#: What the allocator keeps aside for each further thread: with two, the peaks of tiles of 128 bands
#: were up to 81 MB above twice the projection for one.
THREAD = 96 * 2**20
#: GDAL's cache and buffers while a GeoTIFF is put together, whatever its size.
FINISHING = 320 * 2**20
#: MSI images that are held while the noise of one is filtered.
DENOISING = 8
#: Copies of an HSI window while it is resampled, and what its PSF gathers of the MSI.
RESAMPLING, GATHERING = 8, 48 * 2**20
_FLOAT = 4


@dataclass(frozen=True)
class Case:
    """What decides how much memory a fusion needs, but for its tiles.

    Attributes
    ----------
    n_hsi, n_msi, ratio : int
    resampled : bool
        Whether the HSI is resampled.
    frame : (int, int)
        Height and width of the scene in HR pixels.
    method : str
    options : MethodOptions
    """

    n_hsi: int
    n_msi: int
    ratio: int
    resampled: bool
    frame: tuple[int, int]
    method: str
    options: MethodOptions

    @classmethod
    def of(cls, pair: Pair, method: str, options: MethodOptions) -> Case:
        """Case of a pair."""
        bands = pair.n_hsi, pair.n_msi
        return cls(*bands, pair.ratio, pair.resampled, pair.hr_shape, method, options)

    @property
    def chosen(self) -> Method:
        """The method itself."""
        return get_method(self.method)

    @property
    def learned(self) -> bool:
        """Whether the method runs a network."""
        return self.chosen.prepare is not None


@dataclass(frozen=True)
class Projection:
    """Peak memory of a fusion in bytes, stage by stage.

    Attributes
    ----------
    resident : int
        Interpreter, libraries and model: there before any pixel.
    measuring : int
        Registration and scene statistics.
    checking : int
        Self-check of the network, 0 without.
    tile : int
        One tile: read, fused and handed to the writer.
    at_once : int
        Tiles in work at the same time in one process.
    writing : int
        Putting the result together.
    """

    resident: int
    measuring: int
    checking: int
    tile: int
    at_once: int
    writing: int

    @property
    def working(self) -> int:
        """Largest of all stages: what ``--memory`` bounds."""
        fusing = self.at_once * self.tile + (self.at_once - 1) * THREAD
        return max(self.measuring, self.checking, fusing, self.writing)

    @property
    def total(self) -> int:
        """Peak of the whole process."""
        return self.resident + self.working

    def to_dict(self) -> dict[str, int]:
        """Bytes by name."""
        return {**asdict(self), "working": self.working, "total": self.total}


def project(case: Case, plan: TilePlan, at_once: int = 1, check_edge: int = LARGEST) -> Projection:
    """Project the peak memory of a fusion.

    Parameters
    ----------
    case : Case
    plan : TilePlan
    at_once : int
        Tiles in work at the same time.
    check_edge : int
        Largest edge of the image on which the network is checked, HSI pixels.
    """
    window = math.prod(plan.window_shape)
    frame, chain = shares(case, plan.tile, plan.window_shape)
    network = network_bytes(case.options) if case.learned else 0
    core = _FLOAT * case.n_hsi * min(plan.tile, plan.target[0]) * min(plan.tile, plan.target[1])
    checked = 0
    if case.learned and case.options.self_check:
        height, width = (min(n // case.ratio, check_edge) for n in case.frame)
        # The pair one ratio lower and its reference stay beside the window that is fused.
        checked = tile_bytes(case, height * width, 3 * _FLOAT * case.n_hsi * height * width)
    return Projection(
        resident=(WITH_TORCH if case.learned else PLAIN) + network,
        measuring=_measuring(case, at_once),
        checking=checked,
        tile=tile_bytes(case, window, core, frame, chain),
        at_once=at_once,
        writing=_writing(case, plan, core),
    )


def shares(case: Case, tile: int, window: tuple[int, int]) -> tuple[float, float]:
    """Shares of a tile's window in which an image is computed, and in which a chain runs."""
    frame, chain = (
        math.prod(min(tile + 2 * (margin + case.ratio), n) / n for n in window)
        for margin in (case.chosen.margin(case.ratio), REACH)
    )
    return frame, chain


def tile_bytes(
    case: Case, pixels: int, core: int = 0, frame: float = 1.0, chain: float = 1.0
) -> int:
    """Bytes of a tile.

    Parameters
    ----------
    case : Case
    pixels : int
        HR pixels of its window.
    core : int
        Bytes of its result.
    frame, chain : float
        From `shares`; all of the window by default.
    """
    load = Load(case.n_hsi, case.n_msi, case.ratio, case.options, frame, chain)
    fusing, image = case.chosen.held(load), frame * case.n_hsi
    reading = 3 * case.n_msi + 8
    if case.resampled:
        reading += RESAMPLING * case.n_hsi / case.ratio**2
    # The HSI's pixels may be found to lie off the grid; they are read before anything is fused.
    moved = _FLOAT * RESAMPLING * case.n_hsi * pixels / case.ratio**2 + GATHERING
    held = max(fusing, 2 * image) + reading
    fixed = scratch(case.options) if case.learned else 40 * 2**20
    fixed += GATHERING * case.resampled
    fusing_bytes = max(_FLOAT * held * pixels, _denoising(case, pixels))
    # Result of the core beside the fused image; then its encoded and compressed copies.
    placing = _FLOAT * image * pixels + 2 * core
    return int(SLACK * (max(fusing_bytes, placing, moved, 4 * core) + fixed))


def _denoising(case: Case, pixels: int) -> float:
    """A window of the MSI of which the noise is filtered is read with a margin of its own."""
    around = 2 * case.ratio * denoise.reach(Degradation(case.ratio))
    grown = min((math.sqrt(pixels) + around) ** 2, math.prod(case.frame))
    return _FLOAT * DENOISING * case.n_msi * max(grown, pixels)


def network_bytes(options: MethodOptions) -> int:
    """Weights in memory: twice the file, which may hold half precision."""
    return 2 * weights_path(options.weights).stat().st_size


def _measuring(case: Case, at_once: int) -> int:
    """Registration looks at windows of 1024 MSI pixels, statistics at blocks of 64 HSI pixels.

    Several of the blocks are measured at the same time, as tiles are computed. Beside them are the
    sums of the cells in which light and displacements are measured, and their surroundings'.
    """
    fine = (64 + 8) * case.ratio
    fine = min(fine, case.frame[0]) * min(fine, case.frame[1])
    block = 64 * 64 * (case.n_hsi + case.n_msi)
    copies = 10 + RESAMPLING
    images = max(_FLOAT * fine * (4 * case.n_msi + 14), _denoising(case, fine))
    statistics = images + _FLOAT * copies * block
    statistics += _FLOAT * 4 * 128 * 128 * case.n_hsi + GATHERING
    joint = 8 * 4 * (case.n_hsi + case.n_msi) ** 2
    window = min(1024 * 1024, case.frame[0] * case.frame[1])
    registering = _FLOAT * window * (3 * case.n_msi + 8)
    # Pixels of both images and their deviations, float64.
    registering = max(registering, 4 * 8 * MOST * (case.n_hsi + case.n_msi))
    cells = min(CELLS, math.prod(-(-n // (case.ratio * CELL)) for n in case.frame))
    joint += 8 * 3 * (3 * case.n_msi + 10) * cells
    return int(SLACK * (max(at_once * statistics, registering) + joint)) + 32 * 2**20


def _writing(case: Case, plan: TilePlan, core: int) -> int:
    """A GeoTIFF is put together window by window from regions that are decompressed one by one."""
    pixel = _FLOAT * case.n_hsi
    image = pixel * plan.target[0] * plan.target[1]
    window = window_shape((plan.tile, plan.tile), pixel)
    held = pixel * min(window[0], plan.target[0]) * min(window[1], plan.target[1])
    return int(min(FINISHING, 2.5 * image) + held + 1.2 * core)


@dataclass(frozen=True)
class Fit:
    """Tiles that fit a budget.

    Attributes
    ----------
    tile, at_once : int
    check_edge : int
        Largest edge of the image on which the network is checked, HSI pixels.
    projection : Projection
    """

    tile: int
    at_once: int
    check_edge: int
    projection: Projection


def fit(
    pair: Pair,
    case: Case,
    budget: int | None,
    *,
    tile: int | None = None,
    overlap: int | None = None,
    at_once: int = 1,
    here: bool = True,
) -> Fit:
    """Choose the tiles of a fusion.

    Parameters
    ----------
    pair : Pair
    case : Case
    budget : int or None
        Bytes that all stages have to keep to, on top of `Projection.resident`; None: no limit.
    tile, overlap : int or None
        The user's choice.
    at_once : int
        Tiles that could be computed at the same time in one process: fewer where memory is short,
        and the tile does not depend on it.
    here : bool
        Whether that is this process, whose tiles take a part of the machine where there is no
        budget.

    Raises
    ------
    MethodError
        If nothing fits; the message names values that would.
    """

    def tried(edge: int, count: int) -> Fit:
        plan = plan_for(pair, case.method, edge, overlap)
        # A check no larger than a tile needs no more memory than one.
        check = LARGEST if budget is None else min(LARGEST, *plan.window_shape)
        count = min(count, len(plan))
        return Fit(edge, count, check, project(case, plan, count, check))

    def fits(edge: int, count: int) -> bool:
        return budget is None or tried(edge, count).projection.working <= budget

    if tile is None:
        tile = DEFAULT_TILE if budget is None else _tile(fits)
    if tile is None or not fits(tile, 1):
        assert budget is not None
        raise MethodError(_refusal(budget, lambda e: tried(e, 1).projection.working, tile))
    limit = int(OF_MACHINE * (memory_bytes() or 0)) if budget is None and here else budget
    while at_once > 1 and limit is not None and tried(tile, at_once).projection.working > limit:
        at_once -= 1
    return tried(tile, at_once)


def _tile(fits: Callable[[int, int], bool]) -> int | None:
    """Largest tile that fits, if may be with others beside it; None if none does."""
    for count in range(SHARED, 0, -1):
        for edge in TILES:
            if edge >= LEAST_SHARED and fits(edge, count):
                return edge
    return next((edge for edge in TILES if fits(edge, 1)), None)


def plan_for(pair: Pair, method: str, tile: int, overlap: int | None) -> TilePlan:
    """Tiles of a fusion; the overlap defaults to what the method needs."""
    halo = get_method(method).halo(pair.ratio) if overlap is None else overlap
    return plan_tiles(pair, halo, tile)


def _refusal(budget: int, needed: Callable[[int], int], tile: int | None) -> str:
    """One sentence on what would fit."""
    if tile is None:
        least = needed(TILES[-1])
        return (
            f"this fusion cannot be done in {format_bytes(budget)}: pass --memory "
            f"{format_bytes(least)} or more"
        )
    fitting = [edge for edge in TILES if edge < tile and needed(edge) <= budget]
    smaller = f"--tile {fitting[0]} or less, or " if fitting else ""
    wanted = format_bytes(needed(tile))
    return (
        f"tiles of {tile} pixels need {wanted} and not {format_bytes(budget)}: pass {smaller}"
        f"--memory {wanted}"
    )
