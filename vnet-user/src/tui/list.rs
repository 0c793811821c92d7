//! The order of a table's rows, which one is selected and which are in view.

use super::{
    cell::SortKey,
    columns::{self, COLUMNS, Table},
    facts::{Facts, Row, RowKey},
};
use crate::report::DeviceKey;

/// Order, selection and view of one table.
#[derive(Clone, Debug)]
pub struct List {
    table: Table,
    /// Places in the report, in the order shown.
    order: Vec<usize>,
    /// What is selected; `None` while the top row is, whatever it shows.
    selected: Option<RowKey>,
    row: usize,
    top: usize,
    sort: usize,
    descending: bool,
}

impl List {
    /// An empty list, busiest first.
    pub fn new(table: Table) -> Self {
        let sort = columns::busiest();
        let descending = COLUMNS[sort].descending();
        Self { table, order: Vec::new(), selected: None, row: 0, top: 0, sort, descending }
    }

    /// Which table it lists.
    pub fn table(&self) -> Table {
        self.table
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// No row.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Column it is sorted by (place in [`COLUMNS`]) and whether the largest come first.
    pub fn sorted_by(&self) -> (usize, bool) {
        (self.sort, self.descending)
    }

    /// Place of the selected row, from 0.
    pub fn row(&self) -> usize {
        self.row
    }

    /// Place of the first row in view.
    pub fn top(&self) -> usize {
        self.top
    }

    /// The row at this place.
    pub fn get<'a>(&self, facts: &'a Facts, place: usize) -> Option<Row<'a>> {
        self.order.get(place).map(|&index| row(facts, self.table, index))
    }

    /// The selected row.
    pub fn selected<'a>(&self, facts: &'a Facts) -> Option<Row<'a>> {
        self.get(facts, self.row)
    }

    /// Sorts by the next or previous of the columns shown.
    pub fn sort_step(&mut self, shown: &[(usize, usize)], forward: bool) {
        let mut places = shown.iter().map(|&(place, _)| place);
        let next = if forward {
            places.find(|&place| place > self.sort).or(shown.first().map(|&(place, _)| place))
        } else {
            let before = places.rfind(|&place| place < self.sort);
            before.or(shown.last().map(|&(place, _)| place))
        };
        if let Some(next) = next {
            self.sort = next;
            self.descending = COLUMNS[next].descending();
        }
    }

    /// Sorts by this column, or turns the order round where it is sorted by it already.
    pub fn sort_by(&mut self, column: usize) {
        if self.sort == column {
            return self.reverse();
        }
        self.sort = column;
        self.descending = COLUMNS[column].descending();
    }

    /// Turns the order round.
    pub fn reverse(&mut self) {
        self.descending = !self.descending;
    }

    /// Takes the rows of `facts` that belong to `scope` and match `filter` (lower case), and sorts them. The selection
    /// stays on what it was on; where that is not shown, it moves to what is in its place.
    pub fn arrange(&mut self, facts: &Facts, scope: Option<DeviceKey>, filter: &str, page: usize) {
        let column = &COLUMNS[self.sort];
        let rows = match self.table {
            Table::Devices => facts.report.devices.len(),
            Table::Queues => facts.report.queues.len(),
        };
        let mut keyed: Vec<_> = (0..rows)
            .filter_map(|index| {
                let row = row(facts, self.table, index);
                let key = row.key()?;
                let wanted = scope.is_none_or(|device| key.device == device) && matches(row, filter);
                wanted.then(|| (SortKey::of(column.value, row), key, index))
            })
            .collect();
        let descending = self.descending;
        keyed.sort_by(|a, b| a.0.compare(&b.0, descending).then_with(|| a.1.cmp(&b.1)));
        self.order = keyed.iter().map(|&(_, _, index)| index).collect();

        if let Some(selected) = self.selected {
            match keyed.iter().position(|(_, key, _)| *key == selected) {
                Some(place) => self.row = place,
                None => self.row = self.row.min(keyed.len().saturating_sub(1)),
            }
        } else {
            self.row = 0;
        }
        self.scroll(page);
    }

    /// Moves the selection by rows; it stops at the ends.
    pub fn step(&mut self, facts: &Facts, rows: isize, page: usize) {
        let last = self.order.len().saturating_sub(1);
        self.select(facts, self.row.saturating_add_signed(rows).min(last), page);
    }

    /// Selects the top row, and stays with the top row when others move there.
    pub fn first(&mut self, page: usize) {
        self.selected = None;
        self.row = 0;
        self.scroll(page);
    }

    /// Selects the row at this place; false where there is none.
    pub fn pick(&mut self, facts: &Facts, place: usize, page: usize) -> bool {
        let there = place < self.order.len();
        if there {
            self.select(facts, place, page);
        }
        there
    }

    /// Which row is selected and which is the first in view: what a key may have changed on the screen.
    pub fn position(&self) -> (usize, usize) {
        (self.row, self.top)
    }

    /// Selects this, wherever it will be.
    pub fn choose(&mut self, key: RowKey) {
        self.selected = Some(key);
    }

    /// Stays with what is selected now, even where that is the top row.
    pub fn hold(&mut self, facts: &Facts) {
        self.selected = self.selected(facts).and_then(Row::key).or(self.selected);
    }

    /// The selection is on something of this device.
    pub fn follows(&self, device: DeviceKey) -> bool {
        self.selected.is_some_and(|key| key.device == device)
    }

    fn select(&mut self, facts: &Facts, place: usize, page: usize) {
        self.row = place;
        if let Some(row) = self.get(facts, place) {
            self.selected = row.key();
        }
        self.scroll(page);
    }

    /// Keeps the selected row in view, and no empty space below the last row.
    pub fn scroll(&mut self, page: usize) {
        let page = page.max(1);
        self.top = self.top.min(self.row).max((self.row + 1).saturating_sub(page));
        self.top = self.top.min(self.order.len().saturating_sub(page));
    }
}

fn row(facts: &Facts, table: Table, index: usize) -> Row<'_> {
    match table {
        Table::Devices => facts.device(index),
        Table::Queues => facts.queue(index),
    }
}

fn matches(row: Row<'_>, filter: &str) -> bool {
    let holds = |text: &str| text.to_lowercase().contains(filter);
    filter.is_empty()
        || holds(row.name())
        || row.kind().is_some_and(holds)
        || columns::vm(row).is_some_and(|vm| holds(&vm))
}
