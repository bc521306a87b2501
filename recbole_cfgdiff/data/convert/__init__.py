"""From the files that publishers ship to RecBole's atomic files."""
