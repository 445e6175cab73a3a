"""Contact sheets of kinds: python -m menagerie sheet.png zebra "arctic fox"."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from PIL import Image, ImageDraw

import menagerie

LABEL, GAP, PAPER, INK = 14, 2, "white", "black"  # pixels and colours of the sheet


def sheet(
    target: Annotated[Path, typer.Argument(help="Image file to write, for example sheet.png.")],
    kinds: Annotated[list[str] | None, typer.Argument(help="Kinds to show; default: all.")] = None,
    each: Annotated[int, typer.Option(min=1, help="Individuals per kind.")] = 8,
    size: Annotated[int, typer.Option(min=1, help="Width and height of each image in pixels.")] = 96,
    columns: Annotated[int, typer.Option(min=1, help="Kinds per row.")] = 2,
    seed: int = 0,
) -> None:
    """Draw a contact sheet with individuals of each kind under its name."""
    names = list(kinds or menagerie.table())
    shown = menagerie.portraits([name for name in names for _ in range(each)], image_size=size, seed=seed)
    wide, high = each * (size + GAP) + GAP, size + LABEL + GAP
    paper = Image.new("RGB", (min(columns, len(names)) * wide, -(-len(names) // columns) * high), PAPER)
    pen = ImageDraw.Draw(paper)
    for i, name in enumerate(names):
        x, y = i % columns * wide, i // columns * high
        pen.text((x, y), name, fill=INK)
        for k in range(each):
            picture = Image.fromarray(shown.images[i * each + k].permute(1, 2, 0).numpy())
            paper.paste(picture, (x + k * (size + GAP), y + LABEL))
    paper.save(target)
    print(f"{target}: {each} of each of {len(names)} kinds")


def main() -> None:
    """Run the command; print an invalid name as a one-line error and exit with 2."""
    try:
        typer.run(sheet)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
